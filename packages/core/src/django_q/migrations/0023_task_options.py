"""What a task was queued with beside its columns, so that it can be resubmitted as it was."""

import picklefield.fields
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("django_q", "0022_declared_schedules")]
    operations = [
        migrations.AddField(
            model_name="task",
            name="options",
            field=picklefield.fields.PickledObjectField(
                editable=False,
                help_text="What else it was queued with: timeout, chain, …; empty for none.",
                null=True,
                protocol=-1,
                verbose_name="Options",
            ),
        ),
    ]
