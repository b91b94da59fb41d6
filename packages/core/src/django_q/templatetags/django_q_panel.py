"""The status panel of the admin's page of this app."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.template import Context
from django.templatetags.static import static
from django.utils.timesince import timesince
from django.utils.translation import ngettext

from django_q.admin.panel import Panel, gather, seconds_since
from django_q.conf import logger

register = template.Library()

STYLESHEET = "django_q/panel.css"


@register.simple_tag(takes_context=True)
def django_q_panel(context: Context) -> Panel | None:
    """What the panel shows; None for who may view nothing of the app."""
    return gather() if _may_view(context) else None


@register.simple_tag
def django_q_panel_stylesheet() -> str:
    """Where the panel's style is; empty where `collectstatic` has not brought it yet."""
    try:
        return static(STYLESHEET)
    except ValueError as error:
        logger.warning("The admin's status panel is without its style: %s", error)
        return ""


@register.filter
def lasting(since: datetime | None) -> str:
    """How long ago that was: in seconds up to a minute, then as Django says it."""
    if since is None:
        return ""
    seconds = max(0, int(seconds_since(since)))
    if seconds >= 60:
        return timesince(since)
    return ngettext("%(count)d second", "%(count)d seconds", seconds) % {"count": seconds}


def _may_view(context: Context) -> bool:
    """Of what the site's admin lists, may this user view anything?"""
    models = [model for app in context.get("app_list") or () for model in app["models"]]
    return any(model["perms"].get("view") for model in models)
