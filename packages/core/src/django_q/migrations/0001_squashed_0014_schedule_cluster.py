"""The schema of Django Q 1.3.9 in one step, for fresh databases."""

import django.utils.timezone
import picklefield.fields
from django.db import migrations, models

import django_q.models


class Migration(migrations.Migration):
    replaces = [
        ("django_q", "0001_initial"),
        ("django_q", "0002_auto_20150630_1624"),
        ("django_q", "0003_auto_20150708_1326"),
        ("django_q", "0004_auto_20150710_1043"),
        ("django_q", "0005_auto_20150718_1506"),
        ("django_q", "0006_auto_20150805_1817"),
        ("django_q", "0007_ormq"),
        ("django_q", "0008_auto_20160224_1026"),
        ("django_q", "0009_auto_20171009_0915"),
        ("django_q", "0010_auto_20200610_0856"),
        ("django_q", "0011_auto_20200628_1055"),
        ("django_q", "0012_auto_20200702_1608"),
        ("django_q", "0013_task_attempt_count"),
        ("django_q", "0014_schedule_cluster"),
    ]
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="Schedule",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(blank=True, max_length=100, null=True)),
                ("func", models.CharField(max_length=256)),
                ("hook", models.CharField(blank=True, max_length=256, null=True)),
                ("args", models.TextField(blank=True, null=True)),
                ("kwargs", models.TextField(blank=True, null=True)),
                (
                    "schedule_type",
                    models.CharField(
                        choices=[
                            ("O", "Once"),
                            ("I", "Minutes"),
                            ("H", "Hourly"),
                            ("D", "Daily"),
                            ("W", "Weekly"),
                            ("M", "Monthly"),
                            ("Q", "Quarterly"),
                            ("Y", "Yearly"),
                            ("C", "Cron"),
                        ],
                        default="O",
                        max_length=1,
                    ),
                ),
                ("minutes", models.PositiveSmallIntegerField(blank=True, null=True)),
                ("repeats", models.IntegerField(default=-1)),
                ("next_run", models.DateTimeField(default=django.utils.timezone.now, null=True)),
                (
                    "cron",
                    models.CharField(
                        blank=True,
                        max_length=100,
                        null=True,
                        validators=[django_q.models.validate_cron],
                    ),
                ),
                ("task", models.CharField(editable=False, max_length=100, null=True)),
                ("cluster", models.CharField(blank=True, default=None, max_length=100, null=True)),
            ],
            options={
                "verbose_name": "Scheduled task",
                "verbose_name_plural": "Scheduled tasks",
                "ordering": ["next_run"],
            },
        ),
        migrations.CreateModel(
            name="Task",
            fields=[
                (
                    "id",
                    models.CharField(
                        editable=False, max_length=32, primary_key=True, serialize=False
                    ),
                ),
                ("name", models.CharField(editable=False, max_length=100)),
                ("func", models.CharField(max_length=256)),
                ("hook", models.CharField(max_length=256, null=True)),
                (
                    "args",
                    picklefield.fields.PickledObjectField(editable=False, null=True, protocol=-1),
                ),
                (
                    "kwargs",
                    picklefield.fields.PickledObjectField(editable=False, null=True, protocol=-1),
                ),
                (
                    "result",
                    picklefield.fields.PickledObjectField(editable=False, null=True, protocol=-1),
                ),
                ("group", models.CharField(editable=False, max_length=100, null=True)),
                ("started", models.DateTimeField(editable=False)),
                ("stopped", models.DateTimeField(editable=False)),
                ("success", models.BooleanField(default=True, editable=False)),
                ("attempt_count", models.IntegerField(default=0)),
            ],
            options={"ordering": ["-stopped"]},
        ),
        migrations.CreateModel(
            name="Failure",
            fields=[],
            options={
                "verbose_name": "Failed task",
                "verbose_name_plural": "Failed tasks",
                "ordering": ["-stopped"],
                "proxy": True,
            },
            bases=("django_q.task",),
        ),
        migrations.CreateModel(
            name="Success",
            fields=[],
            options={
                "verbose_name": "Successful task",
                "verbose_name_plural": "Successful tasks",
                "ordering": ["-stopped"],
                "proxy": True,
            },
            bases=("django_q.task",),
        ),
        migrations.CreateModel(
            name="OrmQ",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=100)),
                ("payload", models.TextField()),
                ("lock", models.DateTimeField(null=True)),
            ],
            options={"verbose_name": "Queued task", "verbose_name_plural": "Queued tasks"},
        ),
    ]
