"""docs/configuration.md and the code name the same settings and checks."""

import re
from pathlib import Path

from django_q import checks
from django_q.rules import RULES

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()


def test_every_key_has_its_section_and_every_section_its_key() -> None:
    sections = re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)

    assert sorted(sections) == sorted(RULES)


def test_every_check_is_listed() -> None:
    source = Path(str(checks.__file__)).read_text()

    assert set(re.findall(r"django_q\.[EWI]\d{3}", PAGE)) == set(
        re.findall(r'id="(django_q\.[EWI]\d{3})"', source)
    )
