"""What the site's admin shows of Django Q."""

from django_q.admin.schedules import ScheduleAdmin

__all__ = ["ScheduleAdmin"]
