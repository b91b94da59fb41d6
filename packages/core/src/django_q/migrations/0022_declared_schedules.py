"""Schedules by seconds, and schedules that code declares. Both columns are NULL for all others."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("django_q", "0021_indexes")]
    operations = [
        migrations.AddField(
            model_name="schedule",
            name="seconds",
            field=models.PositiveIntegerField(
                blank=True,
                help_text="How many seconds lie between two runs of type Minutes; "
                "wins over minutes.",
                null=True,
                verbose_name="Seconds",
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="declaration",
            field=models.CharField(
                blank=True,
                editable=False,
                help_text="The digest of the @schedule that declares it; empty for all others.",
                max_length=64,
                null=True,
                verbose_name="Declaration",
            ),
        ),
    ]
