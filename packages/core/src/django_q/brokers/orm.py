"""The 1.x name of `django_q_broker_orm.broker`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_q.brokers import _alias

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


_alias.become(__name__, "django_q_broker_orm.broker", "orm")
