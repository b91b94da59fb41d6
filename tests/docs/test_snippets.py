"""The code on the pages is the code of the files it is said to be from."""

import ast
from pathlib import Path
from textwrap import dedent

import pytest

from docs import snippets
from tests.harness import ROOT

SOURCE = '''\
"""A file."""


def first():
    return 1


class Box:
    # region settings
    size = 3
    # endregion

    @staticmethod
    def second():
        return 2
'''


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a folder with one file of code."""
    (tmp_path / "box.py").write_text(SOURCE)
    return tmp_path


def page(names: str, code: str = "") -> str:
    return f"Before.\n\n<!-- box.py{names} -->\n```python\n{code}```\n\nAfter.\n"


def unindented(text: str) -> str:
    return "\n".join(line.strip() for line in text.splitlines())


@pytest.mark.parametrize("path", snippets.pages(), ids=lambda path: path.name)
def test_the_blocks_of_a_page_are_what_the_files_say(path: Path) -> None:
    text = path.read_text()

    assert text == snippets.filled(text), "run: python -m docs.snippets"


def test_the_pages_for_authors_are_made_of_the_examples() -> None:
    assert {"write-a-broker.md", "write-a-reporter.md"} <= {path.name for path in snippets.pages()}


def test_every_method_of_the_example_is_on_the_page() -> None:
    folder = ROOT / "examples/broker-filesystem/src/django_q_broker_filesystem"
    text = unindented((ROOT / "docs/write-a-broker.md").read_text())

    missing = [
        name
        for file in sorted(folder.glob("*.py"))
        for name, node in snippets.definitions(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef)
        and unindented(snippets.snippet(file, name)) not in text
    ]

    assert missing == []


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (": first", "def first():\n    return 1\n"),
        (": Box.second", "@staticmethod\ndef second():\n    return 2\n"),
        (": settings", "size = 3\n"),
        (": settings, first", "size = 3\n\ndef first():\n    return 1\n"),
        ("", SOURCE),
    ],
    ids=["function", "method", "region", "several", "file"],
)
def test_a_block_is_filled_with_what_it_names(root: Path, names: str, code: str) -> None:
    assert snippets.filled(page(names, "old = 0\n"), root) == page(names, code)


def test_a_block_that_is_up_to_date_stays(root: Path) -> None:
    text = snippets.filled(page(": first"), root)

    assert snippets.filled(text, root) == text


def test_other_blocks_are_left_alone(root: Path) -> None:
    text = dedent("""\
        ```python
        # box.py
        first = None
        ```

        <!-- a comment -->
        ```python
        first = None
        ```
    """)

    assert snippets.filled(text, root) == text


def test_what_the_file_has_no_longer_is_named(root: Path) -> None:
    with pytest.raises(LookupError, match=r"box\.py has no function, class or region 'third'"):
        snippets.filled(page(": first, third"), root)
