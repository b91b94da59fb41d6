"""Writes a new plugin's distribution: it works, its tests pass, and its author changes it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from string import Template

from django_q.__about__ import __version__
from django_q.errors import ConfigurationError
from django_q.rules import RULES

KINDS = ("broker", "reporter")

TEMPLATES = Path(__file__).parent / "templates"
"""A folder for each kind; names end in `.tmpl`, so that no tool takes the files for code."""

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


@dataclass(frozen=True, slots=True)
class Skeleton:
    """What is to be written: a kind and a name, and all that is called after it."""

    kind: str
    name: str

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigurationError(
                f"A {self.kind}'s name begins with a letter and has lower-case letters and digits, "
                f"with single hyphens between them, such as 'carrier-pigeon'; not {self.name!r}."
            )
        if self.kind == "broker" and self.key in RULES:
            raise ConfigurationError(
                f"{self.key!r} is a key of Q_CLUSTER already, and would not choose the broker; "
                "take another name."
            )

    @property
    def distribution(self) -> str:
        """The name to install it by, and of its folder."""
        return f"django-q-{self.kind}-{self.name.replace('_', '-')}"

    @property
    def key(self) -> str:
        """The key of the settings that chooses it."""
        return self.name.replace("-", "_")

    @property
    def package(self) -> str:
        """The name to import it by."""
        return self.distribution.replace("-", "_")

    @property
    def class_name(self) -> str:
        """`carrier-pigeon` is a `CarrierPigeonBroker`."""
        words = [*self.key.split("_"), self.kind]
        return "".join(word.capitalize() for word in words)

    def files(self) -> Iterator[tuple[Path, str]]:
        """Relative paths and texts."""
        names = self.names()
        folder = TEMPLATES / self.kind
        for template in sorted(folder.rglob("*.tmpl")):
            path = template.relative_to(folder).with_suffix("").as_posix()
            text = Template(template.read_text(encoding="utf-8")).substitute(names)
            yield Path(path.replace("PACKAGE", self.package)), text

    def names(self) -> dict[str, str]:
        """What the templates say after a dollar sign."""
        return {
            "name": self.name,
            "distribution": self.distribution,
            "key": self.key,
            "package": self.package,
            "class_name": self.class_name,
            "core": __version__,
            "next_core": str(int(__version__.split(".")[0]) + 1),
        }

    def write(self, where: Path) -> list[Path]:
        """Write the distribution into a new folder in `where`; return the paths of its files."""
        target = where / self.distribution
        if target.exists():
            raise ConfigurationError(
                f"{target} is there already, and nothing is overwritten. Remove it, or choose "
                "another --folder."
            )
        written = []
        for path, text in self.files():
            file = target / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            written.append(file)
        return written
