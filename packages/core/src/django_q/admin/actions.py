"""What an operator does to finished tasks from the admin's lists."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from django_q.models import Task


@admin.action(description=_("Resubmit selected tasks to queue"), permissions=["change"])
def resubmit_task(
    model_admin: admin.ModelAdmin[Any], request: HttpRequest, queryset: QuerySet[Task]
) -> None:
    """Queue each of the selected tasks again."""
