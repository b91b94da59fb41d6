"""The exception that ends a task which used up its time, at its 1.x import name."""

from django_q.errors import TimeoutException

__all__ = ["TimeoutException"]
