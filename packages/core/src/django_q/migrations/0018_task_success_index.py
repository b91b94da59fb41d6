"""An index over successful tasks, where the database can limit it to them."""

from typing import Any

from django.db import migrations, models


class AddIndex(migrations.AddIndex):
    """Adds an index only where the database can limit it to some rows.

    MySQL and MariaDB would index every row, over columns too wide for it to pay.
    """

    def database_forwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        if schema_editor.connection.features.supports_partial_indexes:
            super().database_forwards(app_label, schema_editor, from_state, to_state)

    def database_backwards(
        self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any
    ) -> None:
        if schema_editor.connection.features.supports_partial_indexes:
            super().database_backwards(app_label, schema_editor, from_state, to_state)


class Migration(migrations.Migration):
    dependencies = [("django_q", "0017_task_cluster_alter")]
    operations = [
        AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("success", True)),
                fields=["group", "name", "func"],
                name="success_index",
            ),
        ),
    ]
