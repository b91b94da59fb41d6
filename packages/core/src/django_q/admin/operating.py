"""Runs, pauses and resumes one schedule, and says what was done."""

from __future__ import annotations

from typing import Any

from django.db import router, transaction
from django.db.models import F, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from django_q import package
from django_q.admin.deeds import Left
from django_q.brokers import get_broker
from django_q.cluster.planning import Planner, next_run_after_pause
from django_q.conf import Settings, settings_of
from django_q.models import Schedule
from django_q.tasks import enqueue, sync


def run_now(row: Schedule) -> str:
    """Queue its task as the scheduler would; when it is due next, and how often, stays."""
    settings = _settings_of(row)
    _name, task_id = package.new_id()
    planner = Planner(settings, get_broker(settings.cluster_name), timezone.now)
    occurrence = planner.plan_extra(row, task_id)
    with transaction.atomic(using=router.db_for_write(Schedule)):
        if not _same(row).update(**occurrence.after):
            raise Left(_("it is gone"))
        if settings.sync:
            sync.run_package(occurrence.package)
        else:
            enqueue.put(occurrence.broker, occurrence.package)
    return _("Run now as task %s.") % task_id


def pause(row: Schedule) -> str | None:
    """Keep the repeats for later: 0 of them is a pause to every cluster, Django Q2's too."""
    running = _same(row).exclude(repeats=0)
    paused = running.update(paused_repeats=F("repeats"), repeats=0)
    return _("Paused.") if paused else None


def resume(row: Schedule) -> str | None:
    """Give back the repeats; one that has merely run out is not to begin again."""
    if row.repeats != 0:
        return None
    if row.paused_repeats is None:
        raise Left(_("no runs are left, and it was not paused here; set its repeats to go on"))
    values: dict[str, Any] = {"repeats": row.paused_repeats, "paused_repeats": None}
    following = next_run_after_pause(row, _settings_of(row), timezone.now())
    if following is not None:
        values["next_run"] = following
    if not _same(row).filter(repeats=0, next_run=row.next_run).update(**values):
        raise Left(_("somebody else has changed it at this moment"))
    return _("Resumed.")


def _same(row: Schedule) -> QuerySet[Schedule]:
    return Schedule.objects.using(router.db_for_write(Schedule)).filter(pk=row.pk)


def _settings_of(row: Schedule) -> Settings:
    """Those of the cluster whose schedule it is."""
    return settings_of(row.cluster or "")
