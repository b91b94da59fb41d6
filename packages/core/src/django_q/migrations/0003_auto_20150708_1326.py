"""A task's key is its own id of 32 characters."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("django_q", "0002_auto_20150630_1624")]
    operations = [
        migrations.AlterModelOptions(
            name="failure",
            options={"verbose_name": "Failed task", "verbose_name_plural": "Failed tasks"},
        ),
        migrations.AlterModelOptions(
            name="schedule",
            options={
                "verbose_name": "Scheduled task",
                "verbose_name_plural": "Scheduled tasks",
                "ordering": ["next_run"],
            },
        ),
        migrations.AlterModelOptions(
            name="success",
            options={"verbose_name": "Successful task", "verbose_name_plural": "Successful tasks"},
        ),
        migrations.RemoveField(model_name="task", name="id"),
        migrations.AddField(
            model_name="task",
            name="id",
            field=models.CharField(
                editable=False, max_length=32, primary_key=True, serialize=False
            ),
        ),
    ]
