"""Indexes for what is asked all the time.

On a large PostgreSQL table creating them blocks its writers for some seconds: migrate while the
clusters are stopped.
"""

from typing import Any

from django.db import migrations, models


class RemoveIndexIfThere(migrations.RemoveIndex):
    """Removes an index that Django Q2 created on every database and our 0018 only on some."""

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        table = from_state.apps.get_model(app_label, self.model_name)._meta.db_table
        connection = schema_editor.connection
        with connection.cursor() as cursor:
            there = connection.introspection.get_constraints(cursor, table)
        if any(name.lower() == self.name for name in there):
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        if schema_editor.connection.features.supports_partial_indexes:
            super().database_backwards(app_label, schema_editor, from_state, to_state)


class Migration(migrations.Migration):
    dependencies = [("django_q", "0020_engine")]
    operations = [
        RemoveIndexIfThere(model_name="task", name="success_index"),
        migrations.AddIndex(
            model_name="ormq",
            index=models.Index(fields=["key", "priority", "lock"], name="django_q_ormq_key"),
        ),
        migrations.AddIndex(
            model_name="schedule",
            index=models.Index(fields=["next_run"], name="django_q_schedule_next_run"),
        ),
        migrations.AddIndex(
            model_name="task", index=models.Index(fields=["stopped"], name="django_q_task_stopped")
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(fields=["success", "stopped"], name="django_q_task_success"),
        ),
        migrations.AddIndex(
            model_name="task", index=models.Index(fields=["group"], name="django_q_task_group")
        ),
        migrations.AddIndex(
            model_name="task", index=models.Index(fields=["name"], name="django_q_task_name")
        ),
        migrations.AddIndex(
            model_name="iteritem",
            index=models.Index(fields=["group", "index"], name="django_q_iteritem_group"),
        ),
    ]
