"""Names and help texts of the tables and their columns; no change of the schema."""

import django.utils.timezone
import picklefield.fields
from django.db import migrations, models

import django_q.models


class Migration(migrations.Migration):
    dependencies = [("django_q", "0018_task_success_index")]
    operations = [
        migrations.AlterModelOptions(
            name="task",
            options={
                "ordering": ["-stopped"],
                "verbose_name": "Task",
                "verbose_name_plural": "Tasks",
            },
        ),
        migrations.AlterField(
            model_name="ormq",
            name="key",
            field=models.CharField(
                help_text="The queue: the name of the cluster that shall run it.",
                max_length=100,
                verbose_name="Cluster key",
            ),
        ),
        migrations.AlterField(
            model_name="ormq",
            name="lock",
            field=models.DateTimeField(
                help_text="No cluster takes it before this time.",
                null=True,
                verbose_name="Lock until",
            ),
        ),
        migrations.AlterField(
            model_name="ormq",
            name="payload",
            field=models.TextField(
                help_text="The signed package; any change makes it worthless.",
                verbose_name="Payload",
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="args",
            field=models.TextField(
                blank=True,
                help_text="Python literals: 1, 'two', [3]",
                null=True,
                verbose_name="Arguments",
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="cluster",
            field=models.CharField(
                blank=True,
                default=None,
                help_text="The cluster that shall run it; empty for the default one.",
                max_length=100,
                null=True,
                verbose_name="Cluster",
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="cron",
            field=models.CharField(
                blank=True,
                help_text="A cron expression, for type Cron: 0 22 * * 1-5",
                max_length=100,
                null=True,
                validators=[django_q.models.validate_cron],
                verbose_name="Cron",
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="func",
            field=models.CharField(
                help_text="Dotted path of what to call: shop.tasks.send_invoices",
                max_length=256,
                verbose_name="Function",
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="hook",
            field=models.CharField(
                blank=True,
                help_text="Dotted path of what to call with the finished task.",
                max_length=256,
                null=True,
                verbose_name="Hook",
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="intended_date_kwarg",
            field=models.CharField(
                blank=True,
                help_text="Keyword argument in which the function receives the date it was due.",
                max_length=100,
                null=True,
                validators=[django_q.models.validate_kwarg],
                verbose_name="Intended date kwarg",
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="kwargs",
            field=models.TextField(
                blank=True,
                help_text="Python literals by name: x=1, y='two'",
                null=True,
                verbose_name="Keyword arguments",
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="minutes",
            field=models.PositiveSmallIntegerField(
                blank=True,
                help_text="How many minutes lie between two runs of type Minutes.",
                null=True,
                verbose_name="Minutes",
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="name",
            field=models.CharField(
                blank=True,
                help_text="A label for you; it also becomes the group of the tasks.",
                max_length=100,
                null=True,
                verbose_name="Name",
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="next_run",
            field=models.DateTimeField(
                default=django.utils.timezone.now,
                help_text="When it is due next.",
                null=True,
                verbose_name="Next Run",
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="repeats",
            field=models.IntegerField(
                default=-1,
                help_text="How many runs are left; 0 pauses, a negative number means for ever.",
                verbose_name="Repeats",
            ),
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
                    ("BW", "Biweekly"),
                    ("M", "Monthly"),
                    ("BM", "Bimonthly"),
                    ("Q", "Quarterly"),
                    ("Y", "Yearly"),
                    ("C", "Cron"),
                ],
                default="O",
                help_text="How often to queue it.",
                max_length=2,
                verbose_name="Schedule Type",
            ),
        ),
        migrations.AlterField(
            model_name="schedule",
            name="task",
            field=models.CharField(
                editable=False,
                help_text="The task of the latest run.",
                max_length=100,
                null=True,
                verbose_name="Last task id",
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="args",
            field=picklefield.fields.PickledObjectField(
                editable=False,
                help_text="The positional arguments, pickled.",
                null=True,
                protocol=-1,
                verbose_name="Arguments",
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="attempt_count",
            field=models.IntegerField(
                default=0, help_text="How many attempts have ended.", verbose_name="Attempt count"
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="cluster",
            field=models.CharField(
                blank=True,
                default=None,
                help_text="The cluster that ran the task.",
                max_length=100,
                null=True,
                verbose_name="Cluster",
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="func",
            field=models.CharField(
                help_text="Dotted path of what was called.", max_length=256, verbose_name="Function"
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="group",
            field=models.CharField(
                editable=False,
                help_text="The group that the task was queued in, if any.",
                max_length=100,
                null=True,
                verbose_name="Group",
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="hook",
            field=models.CharField(
                help_text="Dotted path of what was called with the finished task.",
                max_length=256,
                null=True,
                verbose_name="Hook",
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="id",
            field=models.CharField(
                editable=False,
                help_text="Identifies the task: 32 hexadecimal characters.",
                max_length=32,
                primary_key=True,
                serialize=False,
                verbose_name="Task id",
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="kwargs",
            field=picklefield.fields.PickledObjectField(
                editable=False,
                help_text="The keyword arguments, pickled.",
                null=True,
                protocol=-1,
                verbose_name="Keyword arguments",
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="name",
            field=models.CharField(
                editable=False,
                help_text="A readable name; not necessarily unique.",
                max_length=100,
                verbose_name="Name",
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="result",
            field=picklefield.fields.PickledObjectField(
                editable=False,
                help_text="What the function returned, or why it failed; pickled.",
                null=True,
                protocol=-1,
                verbose_name="Result",
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="started",
            field=models.DateTimeField(
                editable=False, help_text="When the task was queued.", verbose_name="Started at"
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="stopped",
            field=models.DateTimeField(
                editable=False,
                help_text="When its latest attempt ended.",
                verbose_name="Stopped at",
            ),
        ),
        migrations.AlterField(
            model_name="task",
            name="success",
            field=models.BooleanField(
                default=True,
                editable=False,
                help_text="Did the latest attempt succeed?",
                verbose_name="Success",
            ),
        ),
    ]
