"""Queues finished tasks again, with all that they were queued with."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import ExpressionWrapper, F, QuerySet, TextField
from django.http import HttpRequest
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_q import records
from django_q.admin.deeds import Deeds, Left
from django_q.brokers import Broker, get_broker
from django_q.conf import Settings
from django_q.errors import BrokerUnavailable
from django_q.humanhash import humanize
from django_q.models import Failure, Task
from django_q.records.rows import OPTIONS
from django_q.tasks import enqueue, iterables, sync

PLAIN = ("id", "name", "func", "hook", "group", "cluster", "success")
PICKLED = ("args", "kwargs", "options")


@admin.action(description=_("Resubmit selected tasks to queue"), permissions=["change"])
def resubmit_task(
    model_admin: admin.ModelAdmin[Any], request: HttpRequest, queryset: QuerySet[Any]
) -> None:
    """Queue each task again as it was queued; a failure's row gives way to the new task's.

    What cannot be queued again stays where it is, and a message says why.
    """
    deeds = Deeds(model_admin, request, "Resubmit tasks")
    if _takes_rows(model_admin) and not model_admin.has_delete_permission(request):
        for name in queryset.order_by().values_list("name", flat=True):
            deeds.leave(name, gettext("its row would go, which you may not delete"))
    else:
        resubmission = Resubmission(deeds, enqueue.ready_settings())
        # All keys first: rows go while the others are read.
        for key in list(queryset.values_list("pk", flat=True)):
            resubmission.try_one(key)
    deeds.tell(_resubmitted, _not_resubmitted)


def _takes_rows(model_admin: admin.ModelAdmin[Any]) -> bool:
    return issubclass(model_admin.model, Failure)


def _resubmitted(count: int) -> str:
    return ngettext("%d task was resubmitted.", "%d tasks were resubmitted.", count) % count


def _not_resubmitted(count: int) -> str:
    return ngettext("%d task was not resubmitted:", "%d tasks were not resubmitted:", count) % count


class Resubmission:
    """Queues rows again one by one, each in a transaction of its own."""

    def __init__(self, deeds: Deeds, settings: Settings) -> None:
        self.deeds = deeds
        self.settings = settings
        self.using = records.database()
        self.rows: QuerySet[Any] = deeds.admin.model._default_manager.using(self.using)
        self.takes_rows = _takes_rows(deeds.admin)
        self.brokers: dict[str | None, Broker] = {}
        self.away: dict[str | None, BrokerUnavailable] = {}

    def try_one(self, key: str) -> None:
        """Queue one again, or keep the reason why not."""
        row = self._read(key)
        if row is None:
            return  # Somebody else was quicker: it is neither done nor left.
        try:
            with transaction.atomic(using=self.using):
                self._resubmit(row)
        except BrokerUnavailable as error:
            self.away[row["cluster"]] = error
            self.deeds.leave(row["name"], error)
        except Exception as error:  # unpickling and a broker's client may raise anything
            self.deeds.leave(row["name"], error)
        else:
            self.deeds.done += 1

    def _read(self, key: str) -> dict[str, Any] | None:
        """A row's columns, those that are pickled as they are stored."""
        texts = {f"{name}_text": ExpressionWrapper(F(name), TextField()) for name in PICKLED}
        return self.rows.filter(pk=key).order_by().values(*PLAIN, **texts).first()

    def _resubmit(self, row: dict[str, Any]) -> None:
        if error := self.away.get(row["cluster"]):
            raise error
        values = {name: _decoded(name, row[f"{name}_text"]) for name in PICKLED}
        shown = self.deeds.admin.model(pk=row["id"], name=row["name"])
        if self.takes_rows:
            # First, and undone if it cannot be queued: of two who do this at once, one has it.
            gone, _each = self.rows.filter(pk=row["id"]).delete()
            if not gone:
                raise Left(gettext("somebody else was quicker"))
        new_id = self._enqueue(row, **values)
        self.deeds.note(shown, gettext("Resubmitted as task %s.") % new_id)
        if self.takes_rows:
            self.deeds.admin.log_deletions(self.deeds.request, [shown])  # type: ignore[arg-type]

    def _enqueue(self, row: dict[str, Any], args: Any, kwargs: Any, options: Any) -> str:
        kwargs, options = kwargs or {}, options or {}
        q_options = _q_options(row, options)
        if "iter_length" in options:
            return self._enqueue_all(row, args, kwargs, q_options)
        task = enqueue.build(
            row["func"], tuple(args or ()), {"q_options": q_options}, self.settings
        )
        # Not through `build`, which takes those for itself that are spelled like an option.
        task["kwargs"] = kwargs
        # It has a row, so its result is not one of those that go to the cache.
        task.pop("cached", None)
        signed = enqueue.finish(task, self.settings)
        if task.get("sync"):
            sync.run_package(signed)
        else:
            # Once: who waits at a page may as well ask again.
            enqueue.put(self._broker(row["cluster"]), signed)
        return str(task["id"])

    def _enqueue_all(
        self, row: dict[str, Any], args: Any, kwargs: dict[str, Any], q_options: dict[str, Any]
    ) -> str:
        """The items of an `async_iter`, whose list of results the row is."""
        if taken := sorted(enqueue.OPTION_SET & kwargs.keys()):
            raise Left(gettext("async_iter() would take its %s for an option") % ", ".join(taken))
        if row["name"] == humanize(row["id"]):
            del q_options["task_name"]
        q_options["cached"] = False
        return iterables.async_iter(row["func"], args, q_options=q_options, **kwargs)

    def _broker(self, queue: str | None) -> Broker:
        if queue not in self.brokers:
            self.brokers[queue] = get_broker(queue)
        return self.brokers[queue]


def _decoded(name: str, text: str | None) -> Any:
    try:
        return records.decode(text)
    except Exception as error:  # unpickling imports, and runs what it names
        reason = f"{type(error).__name__}: {error}"
        raise Left(
            gettext("its %(column)s cannot be unpickled (%(reason)s)")
            % {"column": Task._meta.get_field(name).verbose_name, "reason": reason}  # type: ignore[union-attr]
        ) from error


def _q_options(row: dict[str, Any], options: dict[str, Any]) -> dict[str, Any]:
    """What it was queued with; after a success the rest of its chain has been run, too."""
    wanted = {name: options[name] for name in OPTIONS if name in options}
    wanted.pop("iter_length", None)
    if row["success"]:
        wanted.pop("chain", None)
    columns = {name: row[name] for name in ("hook", "group", "cluster") if row[name]}
    return {**wanted, **columns, "task_name": row["name"]}
