"""Schedules and tasks."""

import django.utils.timezone
import picklefield.fields
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Schedule",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False, verbose_name="ID")),
                ("func", models.CharField(max_length=256)),
                ("hook", models.CharField(blank=True, max_length=256, null=True)),
                ("args", models.CharField(blank=True, max_length=256, null=True)),
                ("kwargs", models.CharField(blank=True, max_length=256, null=True)),
                (
                    "schedule_type",
                    models.CharField(
                        choices=[
                            ("O", "Once"),
                            ("H", "Hourly"),
                            ("D", "Daily"),
                            ("W", "Weekly"),
                            ("M", "Monthly"),
                            ("Q", "Quarterly"),
                            ("Y", "Yearly"),
                        ],
                        default="O",
                        max_length=1,
                    ),
                ),
                ("repeats", models.SmallIntegerField(default=-1)),
                ("next_run", models.DateTimeField(default=django.utils.timezone.now, null=True)),
                ("task", models.CharField(editable=False, max_length=100, null=True)),
            ],
            options={"verbose_name": "Scheduled task", "ordering": ["next_run"]},
        ),
        migrations.CreateModel(
            name="Task",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(editable=False, max_length=100)),
                ("func", models.CharField(max_length=256)),
                ("hook", models.CharField(max_length=256, null=True)),
                ("args", picklefield.fields.PickledObjectField(editable=False, null=True)),
                ("kwargs", picklefield.fields.PickledObjectField(editable=False, null=True)),
                ("result", picklefield.fields.PickledObjectField(editable=False, null=True)),
                ("started", models.DateTimeField(editable=False)),
                ("stopped", models.DateTimeField(editable=False)),
                ("success", models.BooleanField(default=True, editable=False)),
            ],
        ),
        migrations.CreateModel(
            name="Failure",
            fields=[],
            options={"verbose_name": "Failed task", "proxy": True},
            bases=("django_q.task",),
        ),
        migrations.CreateModel(
            name="Success",
            fields=[],
            options={"verbose_name": "Successful task", "proxy": True},
            bases=("django_q.task",),
        ),
    ]
