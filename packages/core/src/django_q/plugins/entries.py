"""What a plugin says about a broker or an error reporter that it brings, without importing it."""

from __future__ import annotations

from dataclasses import dataclass

OUR_MODULES = frozenset(
    {
        "django_q",
        *(
            f"django_q_broker_{name}"
            for name in ("disque", "ironmq", "mongo", "orm", "redis", "sqs")
        ),
        *(f"django_q_reporter_{name}" for name in ("rollbar", "sentry")),
    }
)
"""The import packages of this project, whose classes win over a third party's."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A name, where the class is, the settings that ask for it, and what to install."""

    name: str
    """What people call it: `orm`, `redis`, `sentry`."""
    path: str
    """The dotted path of the class, imported only when it is chosen."""
    keys: tuple[str, ...] = ()
    """The keys that choose it; without any, its name does."""
    install: str = ""
    """What `pip install` brings it with all it needs: `django-q-core[redis]`."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name:
            raise ValueError(f"An entry's name must be a word, not {self.name!r}.")
        if not isinstance(self.path, str) or "." not in self.path.strip("."):
            raise ValueError(
                f"The path of entry {self.name!r} must be the dotted path of a class, such as "
                f"'package.module.Class', not {self.path!r}."
            )
        if not isinstance(self.keys, tuple) or not all(isinstance(key, str) for key in self.keys):
            raise ValueError(
                f"The keys of entry {self.name!r} must be a tuple of words, not {self.keys!r}."
            )

    @property
    def answers_to(self) -> tuple[str, ...]:
        """The keys by which settings choose this entry."""
        return self.keys or (self.name,)

    @property
    def is_ours(self) -> bool:
        """Is the class one of this project's own?"""
        return self.path.split(".")[0] in OUR_MODULES

    @property
    def cure(self) -> str:
        """The end of an error message: what to do where the class cannot be imported."""
        return cure(self.install)


@dataclass(frozen=True, slots=True)
class BrokerEntry(Entry):
    """A broker; its keys are those of `Q_CLUSTER` itself: `{"orm": "default"}`."""


@dataclass(frozen=True, slots=True)
class ReporterEntry(Entry):
    """An error reporter; its keys are those of `Q_CLUSTER["error_reporter"]`."""


def pip_install(requirement: str) -> str:
    """The command that installs a requirement, quoted where a shell would read the brackets."""
    return f'pip install "{requirement}"' if "[" in requirement else f"pip install {requirement}"


def cure(requirement: str) -> str:
    """The end of an error message: what to install, where that is known."""
    return f" To install it: {pip_install(requirement)}" if requirement else ""
