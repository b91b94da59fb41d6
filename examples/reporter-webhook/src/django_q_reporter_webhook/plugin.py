"""Tells Django Q of the reporter; imported by every process, so it imports nothing heavy."""

from django_q.plugins import ReporterEntry, hookimpl


@hookimpl
def django_q_reporters() -> list[ReporterEntry]:
    """Name the reporter and the key of `Q_CLUSTER["error_reporter"]` that chooses it."""
    return [
        ReporterEntry(
            name="webhook",
            path="django_q_reporter_webhook.reporter.Webhook",
            keys=("webhook",),
            install="django-q-reporter-webhook",
        )
    ]
