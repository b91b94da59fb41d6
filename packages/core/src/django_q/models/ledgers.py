"""The engine's small ledgers."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_q.models.tasks import TASK_ID_LENGTH


class IterItem(models.Model):
    """One finished item of an `async_iter`, kept until all of its items have finished."""

    task_id = models.CharField(max_length=TASK_ID_LENGTH, primary_key=True)
    group = models.CharField(max_length=100)
    index = models.IntegerField()
    success = models.BooleanField()
    args = models.TextField(null=True)
    result = models.TextField(null=True)
    created = models.DateTimeField()

    class Meta:
        app_label = "django_q"
        verbose_name = _("Finished item")
        verbose_name_plural = _("Finished items")
        indexes = [models.Index(name="django_q_iteritem_group", fields=["group", "index"])]

    def __str__(self) -> str:
        return f"{self.group} {self.index}"


class ClusterStatus(models.Model):
    """The latest report of a running cluster, for sites without a shared cache."""

    key = models.CharField(max_length=150, primary_key=True)
    value = models.TextField()
    expires = models.DateTimeField()

    class Meta:
        app_label = "django_q"
        verbose_name = _("Cluster status")
        verbose_name_plural = _("Cluster statuses")

    def __str__(self) -> str:
        return self.key
