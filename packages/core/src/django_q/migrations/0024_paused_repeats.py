"""What a schedule that is paused goes on with. NULL for all others."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("django_q", "0023_task_options")]
    operations = [
        migrations.AddField(
            model_name="schedule",
            name="paused_repeats",
            field=models.IntegerField(
                blank=True,
                editable=False,
                help_text="How many runs are left once it is resumed; empty unless it is paused.",
                null=True,
                verbose_name="Repeats before the pause",
            ),
        ),
    ]
