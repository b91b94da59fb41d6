"""What can go wrong, each with a message that names the thing, the expectation and the cure."""


class DjangoQError(Exception):
    """Base of every error that Django Q raises on purpose."""


class ConfigurationError(DjangoQError):
    """A setting, a package or a table that the site needs is missing or wrong."""


class UnknownBroker(ConfigurationError):
    """The settings ask for a broker that no installed distribution provides."""


class UnknownReporter(ConfigurationError):
    """The settings ask for an error reporter that no installed distribution provides."""


class PluginError(ConfigurationError):
    """A plugin that was chosen failed to import, or answers with something unusable."""


class TaskRefused(DjangoQError, ValueError):
    """`async_task()` was asked for something that could never be run or recorded."""


class UnsupportedByBroker(DjangoQError):
    """The broker was asked for something that its capabilities exclude."""


class EnqueueError(DjangoQError):
    """Some packages of a batch were not accepted; `accepted` holds the ids of those that were."""

    def __init__(self, message: str, accepted: list[str | None]) -> None:
        super().__init__(message)
        self.accepted = accepted


class BrokerUnavailable(DjangoQError):
    """The broker's server cannot be reached, or takes nothing for the moment; later it may."""


class BadPackage(DjangoQError):
    """A package on the broker whose signature, compression or pickle cannot be read."""


class TimeoutException(SystemExit):  # the 1.x name
    """Raised inside a task that has used up its `timeout`.

    A SystemExit, as ever, so that a task's `except Exception` does not swallow it.
    """
