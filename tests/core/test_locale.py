"""The translations are complete, compiled, true to the code, and what the admin shows."""

from __future__ import annotations

import re
import shutil
from gettext import GNUTranslations
from pathlib import Path
from typing import Any

import django
import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import translation
from django.utils.html import escape

from docs import translations
from docs.translations import LANGUAGES, PACKAGE, source
from tests.servers import find

PLACEHOLDER = re.compile(r"%\(\w+\)[a-z]|%[a-z]|\{\w*\}|`[^`]+`")
"""What Python fills in, and what a reader types as it stands."""

UPDATE = "run: hatch run messages"

SCHEDULES = {
    "de": ("Geplante Aufgaben", "Wie oft die Aufgabe eingereiht wird."),
    "fr": ("Tâches planifiées", "Fréquence de mise en file d’attente."),  # noqa: RUF001
    "ru": ("Задачи по расписанию", "Как часто ставить задачу в очередь."),
    "tr": ("Zamanlanmış görevler", "Görevin ne sıklıkla kuyruğa alınacağı."),  # noqa: RUF001
    "zh-hans": ("计划任务", "将任务加入队列的频率。"),
}
"""By the code that a browser asks with: a model's name, and a field's help text."""


def catalog(file: Path) -> dict[Any, str]:
    """Return what a compiled file holds: a text for each msgid, or (msgid, number) of a plural."""
    with file.open("rb") as opened:
        return dict(vars(GNUTranslations(opened))["_catalog"])


def shipped(language: str) -> dict[Any, str]:
    return catalog(source(language).with_suffix(".mo"))


def texts(language: str) -> dict[str, list[str]]:
    """Return the translations of each text of the code: one, or all of its plural forms."""
    found: dict[str, list[str]] = {}
    for key, text in shipped(language).items():
        found.setdefault(key[0] if isinstance(key, tuple) else key, []).append(text)
    del found[""]  # the header
    return found


@pytest.fixture(scope="module")
def gettext() -> None:
    """Without its programs there is nothing to compare with."""
    for program in ("xgettext", "msguniq", "msgmerge", "msgattrib", "msgfmt"):
        find(program, "gettext")


@pytest.fixture(scope="module")
def collected(gettext: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the package, whose files of translations are those of the code now."""
    copy = tmp_path_factory.mktemp("locale") / PACKAGE.name
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    translations.collect(copy)
    return copy


def recompiled(file: Path, folder: Path) -> dict[Any, str]:
    compiled = folder / "django.mo"
    compiled.write_bytes(translations.compiled(file))
    return catalog(compiled)


# What gettext's own programs say


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_of_the_code_is_translated(collected: Path, language: str) -> None:
    assert translations.untranslated(source(language, collected)) == "", UPDATE


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_translation_is_of_a_text_that_is_gone(
    collected: Path, language: str, tmp_path: Path
) -> None:
    current = recompiled(source(language, collected), tmp_path)

    assert sorted(shipped(language).keys() - current.keys(), key=str) == [], UPDATE


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_shipped_is_compiled_from_the_source(
    gettext: None, language: str, tmp_path: Path
) -> None:
    assert shipped(language) == recompiled(source(language), tmp_path), UPDATE


def test_a_new_text_is_left_to_translate_and_not_guessed(gettext: None, tmp_path: Path) -> None:
    package = tmp_path / PACKAGE.name
    shutil.copytree(PACKAGE / "locale", package / "locale")
    (package / "texts.py").write_text('_("Successful task")\n_("Successful task again")\n')

    translations.collect(package)

    assert translations.untranslated(source("de", package)) == (
        'msgid "Successful task again"\nmsgstr ""\n'
    )
    assert "Erfolgreiche Aufgabe" in source("de", package).read_text(encoding="utf-8")


# What they read like


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_translation_has_the_placeholders_of_its_text(language: str) -> None:
    wrong = {
        text: found
        for text, found in texts(language).items()
        if any({*PLACEHOLDER.findall(text)} != {*PLACEHOLDER.findall(each)} for each in found)
    }

    assert wrong == {}


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_text_of_django_itself_reads_otherwise_with_us(language: str) -> None:
    ours = shipped(language)
    files = Path(django.__file__).parent.glob(f"**/locale/{language}/LC_MESSAGES/django.mo")
    theirs = {key: text for file in files for key, text in catalog(file).items() if key}

    assert {key: ours[key] for key in ours.keys() & theirs if ours[key] != theirs[key]} == {}


@pytest.mark.django_db
@pytest.mark.parametrize("language", SCHEDULES)
def test_the_admin_speaks_the_language_that_the_browser_asks_for(
    settings: Any, language: str
) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "django.middleware.locale.LocaleMiddleware"]
    client = Client(headers={"accept-language": language})
    client.force_login(User.objects.create_superuser("root"))
    name, help_text = SCHEDULES[language]

    with translation.override(None):  # the middleware leaves its choice behind
        index = client.get(reverse("admin:index")).content.decode()
        form = client.get(reverse("admin:django_q_schedule_add")).content.decode()

    assert name in index
    assert escape(help_text) in form
