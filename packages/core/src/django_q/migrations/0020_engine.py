"""What the engine keeps: claims, attempts, priorities, stored occurrences, items, statuses.

A Django Q2 process goes on inserting into the migrated tables: every new column is nullable or
has a default in the database.
"""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("django_q", "0019_alter_task_options_alter_ormq_key_alter_ormq_lock_and_more")]
    operations = [
        migrations.CreateModel(
            name="ClusterStatus",
            fields=[
                ("key", models.CharField(max_length=150, primary_key=True, serialize=False)),
                ("value", models.TextField()),
                ("expires", models.DateTimeField()),
            ],
            options={"verbose_name": "Cluster status", "verbose_name_plural": "Cluster statuses"},
        ),
        migrations.CreateModel(
            name="IterItem",
            fields=[
                ("task_id", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("group", models.CharField(max_length=100)),
                ("index", models.IntegerField()),
                ("success", models.BooleanField()),
                ("args", models.TextField(null=True)),
                ("result", models.TextField(null=True)),
                ("created", models.DateTimeField()),
            ],
            options={"verbose_name": "Finished item", "verbose_name_plural": "Finished items"},
        ),
        migrations.AddField(
            model_name="ormq",
            name="attempts",
            field=models.IntegerField(
                db_default=0,
                default=0,
                editable=False,
                help_text="How many failed attempts were recorded.",
                verbose_name="Attempts",
            ),
        ),
        migrations.AddField(
            model_name="ormq",
            name="claim",
            field=models.BigIntegerField(
                editable=False,
                help_text="The number of the claim that holds it; empty while nobody does.",
                null=True,
                verbose_name="Claim",
            ),
        ),
        migrations.AddField(
            model_name="ormq",
            name="lapses",
            field=models.IntegerField(
                db_default=0,
                default=0,
                editable=False,
                help_text="How many claims ended without a word.",
                verbose_name="Lapses",
            ),
        ),
        migrations.AddField(
            model_name="ormq",
            name="priority",
            field=models.SmallIntegerField(
                db_default=0,
                default=0,
                help_text="Higher ones are taken first.",
                verbose_name="Priority",
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="catch_up",
            field=models.BooleanField(
                blank=True,
                help_text="Run occurrences that were missed? Unknown: as the cluster is set.",
                null=True,
                verbose_name="Catch up",
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="error",
            field=models.TextField(
                blank=True,
                editable=False,
                help_text="Why the schedule could not be queued when it was last due.",
                null=True,
                verbose_name="Error",
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="occurrence",
            field=models.DateTimeField(
                blank=True,
                editable=False,
                help_text="The run that is being queued at this moment.",
                null=True,
                verbose_name="Occurrence",
            ),
        ),
        migrations.AddField(
            model_name="schedule",
            name="occurrence_task",
            field=models.CharField(
                blank=True,
                editable=False,
                help_text="The task id of the run that is being queued.",
                max_length=32,
                null=True,
                verbose_name="Occurrence's task id",
            ),
        ),
        migrations.AddField(
            model_name="task",
            name="worker_deaths",
            field=models.IntegerField(
                db_default=0,
                default=0,
                editable=False,
                help_text="How many attempts ended with the death of their worker.",
                verbose_name="Worker deaths",
            ),
        ),
    ]
