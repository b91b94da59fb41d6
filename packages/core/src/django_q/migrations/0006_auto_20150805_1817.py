"""Schedules may run every few minutes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("django_q", "0005_auto_20150718_1506")]
    operations = [
        migrations.AddField(
            model_name="schedule",
            name="minutes",
            field=models.PositiveSmallIntegerField(blank=True, null=True),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="schedule_type",
            field=models.CharField(
                choices=[
                    ("O", "Once"),
                    ("I", "Minutes"),
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
    ]
