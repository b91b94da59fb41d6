"""What the site's admin shows of Django Q."""

from django_q.admin.actions import resubmit_task
from django_q.admin.queue import QueueAdmin
from django_q.admin.schedules import ScheduleAdmin
from django_q.admin.tasks import FailAdmin, TaskAdmin

__all__ = ["FailAdmin", "QueueAdmin", "ScheduleAdmin", "TaskAdmin", "resubmit_task"]
