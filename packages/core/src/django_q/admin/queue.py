"""The admin of the ORM broker's queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin

from django_q.models import OrmQ

if TYPE_CHECKING:
    Base = admin.ModelAdmin[OrmQ]
else:
    Base = admin.ModelAdmin


class QueueAdmin(Base):
    """The queued tasks."""

    list_display = ("id", "key", "name", "group", "func", "lock", "task_id")
