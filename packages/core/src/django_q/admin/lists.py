"""Lists of finished tasks that stay fast however many rows there are: no query reads them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from django.contrib import admin
from django.core.paginator import Paginator
from django.db.models import Field, QuerySet
from django.http import HttpRequest
from django.utils.formats import number_format
from django.utils.functional import cached_property
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from django_q.models import Task

if TYPE_CHECKING:
    BasePaginator = Paginator[Any]
else:
    BasePaginator = Paginator

COUNTED = 10_000
"""So many rows are counted and can be paged through; filters lead to those behind them."""

RECENT = 1_000
"""Of so many of the newest tasks a filter offers the values."""

CHOICES = 100
"""So many values at most."""

WINDOW = 20_000
"""Among so many of the newest tasks a filter without an index looks."""


class MoreThan(int):
    """A count that was given up, which reads as what it is wherever the admin shows it.

    The templates admin/django_q/*.html keep Django from setting separators between its digits.
    """

    def __str__(self) -> str:
        return gettext("more than %s") % number_format(int(self), force_grouping=True)


class BoundedPaginator(BasePaginator):
    """Counts no further than to a bound, and has pages up to there."""

    @cached_property
    def count(self) -> int:
        """How many rows there are, or that there are more than the bound."""
        rows = cast("QuerySet[Any]", self.object_list)
        if not issubclass(rows.model, Task):
            return super().count  # The history of an object has the pages of its admin, too.
        # In an order that an index has: where any rows will do, a database reads the table.
        found = rows.order_by("-stopped").values("stopped")[: COUNTED + 1].count()
        return found if found <= COUNTED else MoreThan(COUNTED)


class RecentValues(admin.AllValuesFieldListFilter):
    """Offers the values that the newest tasks of the list have.

    Not all there are: to find those takes a scan of the table, or of an index that has failures
    and successes in one. Small lists, such as `save_limit` leaves by default, are shown whole; a
    value that was chosen by its URL is found however old its tasks are.
    """

    def __init__(
        self,
        field: Field[Any, Any],
        request: HttpRequest,
        params: dict[str, Any],
        model: type[Task],
        model_admin: admin.ModelAdmin[Any],
        field_path: str,
    ) -> None:
        super().__init__(field, request, params, model, model_admin, field_path)
        newest = model_admin.get_queryset(request).order_by("-stopped")
        values = newest.values_list(field_path, flat=True)[:RECENT]
        offered = list(dict.fromkeys([*self._chosen(), *values]))[:CHOICES]
        self.lookup_choices: Any = sorted(offered, key=lambda value: (value is None, value))

    def _chosen(self) -> list[str | None]:
        return [*(self.lookup_val or ()), *([None] if self.lookup_val_isnull else ())]


class ValuesOfTheNewest(RecentValues):
    """Filters by a column without an index, and so among the newest tasks only.

    An index would cost each finished task something, for a filter that is seldom used. The window
    is one of what the other filters leave: together with a day it reaches as far back as there
    are tasks.
    """

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any] | None:
        """The rows of the window that have the value."""
        if self.used_parameters:
            newest = queryset.order_by("-stopped").values_list("stopped", flat=True)
            oldest = newest[WINDOW - 1 : WINDOW].first()
            if oldest is not None:
                queryset = queryset.filter(stopped__gte=oldest)
                self.title = _("%(column)s, of the newest %(count)s") % {
                    "column": self.title,
                    "count": number_format(WINDOW, force_grouping=True),
                }
        return super().queryset(request, queryset)


FILTERS: dict[Any, type[RecentValues]] = {"group": RecentValues, "cluster": ValuesOfTheNewest}
"""What filters by these columns, also where a subclass of an admin names them."""


def fast_filters(wanted: Any) -> list[Any]:
    """The filters of a list, with ours for what would otherwise read the table."""
    filters = [(name, FILTERS[name]) if _is_ours(name) else name for name in wanted]
    # At the end those that look at a part only of what the others leave.
    return sorted(filters, key=lambda chosen: _is_ours(chosen, ValuesOfTheNewest))


def _is_ours(chosen: Any, kind: type[RecentValues] | None = None) -> bool:
    if kind is None:
        return isinstance(chosen, str) and chosen in FILTERS
    return isinstance(chosen, tuple) and chosen[1] is kind
