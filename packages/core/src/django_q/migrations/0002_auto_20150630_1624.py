"""A schedule's arguments may be long."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("django_q", "0001_initial")]
    operations = [
        migrations.AlterField(
            model_name="schedule", name="args", field=models.TextField(blank=True, null=True)
        ),
        migrations.AlterField(
            model_name="schedule", name="kwargs", field=models.TextField(blank=True, null=True)
        ),
    ]
