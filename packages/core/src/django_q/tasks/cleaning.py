"""Deletes old results: what `manage.py qclean` does, as a task that can be scheduled."""

from __future__ import annotations

from django.db import router

from django_q.conf import get_settings
from django_q.readiness import explain_database_errors
from django_q.records import cleaning


def clean_old_tasks() -> int:
    """Delete the finished tasks that the settings leave no room for; return how many.

    By `save_limit`, `failure_limit` and `keep_days`; where `Q_CLUSTER` says nothing of them, also
    what is older than 30 days.
    """
    from django_q.models import Task  # models need the app registry, this module does not

    using, tally = router.db_for_write(Task), cleaning.Tally()
    with explain_database_errors(using):
        for _ in cleaning.by_settings(get_settings(), using).run(tally):
            pass
    return tally.tasks
