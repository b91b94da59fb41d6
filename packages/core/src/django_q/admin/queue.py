"""The admin of the ORM broker's queue: what waits can be moved, put off, released and deleted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.db.models import Case, F, Func, IntegerField, Q, QuerySet, Value, When
from django.db.models.lookups import LessThanOrEqual
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from django.utils.functional import cached_property
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from django_q import package
from django_q.admin.deeds import Deeds, Left
from django_q.admin.lists import COUNTED, BoundedPaginator, MoreThan
from django_q.admin.readable import shown
from django_q.brokers import Broker
from django_q.brokers.registry import choose
from django_q.conf import Settings, get_settings, queue_names, seen_as, settings_of
from django_q.errors import ConfigurationError
from django_q.models import OrmQ
from django_q.models.columns import column
from django_q.plugins import get_manager

if TYPE_CHECKING:
    Base = admin.ModelAdmin[OrmQ]
    BaseFilter = admin.AllValuesFieldListFilter
else:
    Base = admin.ModelAdmin
    BaseFilter = admin.AllValuesFieldListFilter

READ_IN_LISTS = 64 * 1024
"""Bytes of a payload; of a longer one a list says that it is too long."""

QUEUES = 100
"""So many queues at most are offered as a filter."""

EDITABLE = ("key", "lock")
STATE = ("state", "priority", "lapses", "attempts")
CONTENT = ("task_id", "name", "func", "group", "shown_args", "shown_kwargs", "shown_options")


class Bytes(Func):
    """The size of a text, for which PostgreSQL need not read it."""

    function = "OCTET_LENGTH"
    output_field = IntegerField()

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """Characters: a signed package has no others than of one byte."""
        return self.as_sql(compiler, connection, function="LENGTH", **context)

    as_oracle = as_sqlite


class QueuePaginator(BoundedPaginator):
    """Counts no further than to a bound."""

    @cached_property
    def count(self) -> int:
        """How many packages there are, or that there are more than the bound."""
        rows: Any = self.object_list
        some = rows.order_by().values("pk")
        found: int = some[: COUNTED + 1].count()
        return found if found <= COUNTED else MoreThan(COUNTED)


class QueueNames(BaseFilter):
    """Offers the queues that have packages, each found by one look into the index."""

    def __init__(
        self,
        field: Any,
        request: HttpRequest,
        params: dict[str, Any],
        model: type[OrmQ],
        model_admin: admin.ModelAdmin[Any],
        field_path: str,
    ) -> None:
        super().__init__(field, request, params, model, model_admin, field_path)
        self.lookup_choices: Any = _queues(model_admin.get_queryset(request))


def _queues(rows: QuerySet[Any]) -> list[str]:
    found: list[str] = []
    names = rows.order_by("key").values_list("key", flat=True)
    while len(found) < QUEUES:
        later = names.filter(key__gt=found[-1]) if found else names
        name = later[:1].first() if found else names[:1].first()
        if name is None or name in found:
            break
        found.append(name)
    return found


class Claimed(Exception):
    """A cluster works on what somebody wanted to change."""


class QueueAdmin(Base):
    """Lists load no payload that is long, and read the others without running what is in them."""

    list_display = ("id", "key", "name", "group", "func", "lock", "task_id")
    list_filter = ("key",)
    ordering = ("-id",)
    actions = ("release",)
    paginator = QueuePaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER  # They count the whole table, once for each choice.

    # The list

    def get_queryset(self, request: HttpRequest) -> QuerySet[OrmQ]:
        """The queue, in the database that the broker has it in; payloads only if they are short."""
        is_short: Any = LessThanOrEqual(Bytes(F("payload")), READ_IN_LISTS)
        short = Case(When(is_short, then=F("payload")), default=Value(None))
        rows = super().get_queryset(request).using(queue_database())
        return rows.defer("payload").annotate(short_payload=short)

    def get_list_filter(self, request: HttpRequest) -> list[Any]:
        """The filter of queues reads no whole table, also for a subclass that names it."""
        wanted = super().get_list_filter(request)
        return [("key", QueueNames) if chosen == "key" else chosen for chosen in wanted]

    # A package's page

    def get_object(
        self, request: HttpRequest, object_id: str, from_field: str | None = None
    ) -> OrmQ | None:
        """One package, with all of its payload."""
        row = super().get_object(request, object_id, from_field)
        if row is None:
            return None
        try:
            row.refresh_from_db(using=queue_database(), fields=["payload"])
        except OrmQ.DoesNotExist:
            return None  # A cluster has just done it.
        del row.__dict__["short_payload"]
        return row

    def get_fields(self, request: HttpRequest, obj: OrmQ | None = None) -> list[Any]:
        """What can be changed, how it fares, and what is in it or why that cannot be read."""
        content = ("problem",) if obj is None or _problem(obj) else CONTENT
        return [*EDITABLE, *STATE, *content]

    def get_readonly_fields(self, request: HttpRequest, obj: OrmQ | None = None) -> list[str]:
        """All but two: a payload is signed, and any change makes it worthless."""
        return [*super().get_readonly_fields(request, obj), *STATE, "problem", *CONTENT]

    @column(_("State"))
    def state(self, row: OrmQ) -> str:
        """What the time, and a claim, mean for it."""
        is_available = row.lock is None or row.lock <= timezone.now()
        if row.claim is None:
            return gettext("waiting") if is_available else gettext("not to be run before its time")
        if is_available:
            return gettext("waiting again, since the cluster that had it fell silent")
        return gettext(
            "a cluster works on it; to change anything, release it first, whereupon it may run "
            "twice"
        )

    @column(_("Payload"))
    def problem(self, row: OrmQ) -> str:
        """Why its payload cannot be read."""
        return gettext("It cannot be read: %s") % _problem(row)

    @column(_("Arguments"))
    def shown_args(self, row: OrmQ) -> str:
        """The positional arguments."""
        return shown(row.args())

    @column(_("Keyword arguments"))
    def shown_kwargs(self, row: OrmQ) -> str:
        """The keyword arguments."""
        return shown(row.kwargs())

    @column(_("Queue options"))
    def shown_options(self, row: OrmQ) -> str:
        """All else that the package says of its task."""
        return shown(row.q_options())

    # What may be done

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Packages are signed where they are made."""
        return False

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """The page of one package; what could not be saved is said on it."""
        try:
            return super().changeform_view(request, *args, **kwargs)
        except Claimed as error:
            self.message_user(request, str(error), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: OrmQ, form: Any, change: bool) -> None:
        """Write what was changed, and nothing else: a cluster may claim it at any moment.

        A claim that has lapsed is over then, and counted: its late acknowledgement finds nothing.
        """
        changes = {name: getattr(obj, name) for name in EDITABLE if name in form.changed_data}
        if not changes:
            return
        is_free = Q(claim=None) | Q(lock=None) | Q(lock__lte=timezone.now())
        has_lapsed = Case(When(claim__isnull=False, then=1), default=0)
        rows = OrmQ.objects.using(queue_database()).filter(pk=obj.pk)
        # In this order: MySQL sets one column after the other.
        if not rows.filter(is_free).update(lapses=F("lapses") + has_lapsed, claim=None, **changes):
            raise Claimed(
                gettext("Nothing was changed: a cluster works on it, or has done it meanwhile.")
            )

    def delete_model(self, request: HttpRequest, obj: OrmQ) -> None:
        """Delete it where it is."""
        obj.delete(using=queue_database())

    @admin.action(description=_("Release selected tasks at once"), permissions=["change"])
    def release(self, request: HttpRequest, queryset: QuerySet[OrmQ]) -> None:
        """Make them available now, whoever has claimed them.

        A cluster that works on one can neither renew nor acknowledge it any more.
        """
        deeds = Deeds(self, request, "Release queued tasks")
        brokers: dict[str, Broker] = {}

        def release_one(row: OrmQ) -> str:
            if row.key not in brokers:
                brokers[row.key] = _broker(row.key)
            if brokers[row.key].release([str(row.pk)]):
                raise Left(gettext("it is no longer in the queue"))
            return gettext("Released.")

        keys = list(queryset.order_by("pk").values_list("pk", "key"))
        deeds.each((OrmQ(pk=pk, key=key) for pk, key in keys), release_one)
        deeds.tell(_released, _not_released)


def _released(count: int) -> str:
    return ngettext("%d task was released.", "%d tasks were released.", count) % count


def _not_released(count: int) -> str:
    return ngettext("%d task was not released:", "%d tasks were not released:", count) % count


# What is in a package


def _problem(row: OrmQ) -> str | None:
    try:
        package.inspect(row.payload)
    except Exception as error:  # whatever lies in the queue, its page must be shown
        return str(error) or type(error).__name__
    return None


# Where the queue is


def queue_database() -> str:
    """The alias of the first queue of the settings that the ORM broker keeps."""
    return _first_alias() or "default"


def _first_alias() -> str | None:
    """None: none of the queues is kept by the ORM broker."""
    settings = get_settings()
    if settings.orm:
        return settings.orm
    for each in (settings, *map(settings_of, queue_names())):
        if each.orm or _chosen(each) == "orm":
            return each.orm or "default"
    return None


def _chosen(settings: Settings) -> str | None:
    try:
        return choose(settings, get_manager()).name
    except ConfigurationError:
        return None


def _broker(queue: str) -> Broker:
    from django_q.brokers.orm import ORM  # only where that broker is installed

    with seen_as(replace(get_settings(), orm=queue_database())):
        broker: Broker = ORM(list_key=queue)
    return broker


def _is_shown() -> bool:
    """Is the ORM broker in use? What is wrong with the settings, the checks will say."""
    try:
        return get_settings().testing or _first_alias() is not None
    except ConfigurationError:
        return False


if _is_shown():
    admin.site.register(OrmQ, QueueAdmin)
