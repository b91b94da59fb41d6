"""What the README and its neighbours tell people to type is what the repository really has."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.harness import ROOT

PAGES = sorted(
    path
    for pattern in (
        "*.md",
        "docs/*.md",
        "changelog.d/*.md",
        "packages/*/README.md",
        "examples/*/README.md",
    )
    for path in ROOT.glob(pattern)
)


def code_blocks(path: Path, language: str) -> list[str]:
    """Return the fenced blocks of a page, without their indentation."""
    fenced = re.compile(rf"^( *)```{language}\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
    return [
        "\n".join(line.removeprefix(indent) for line in block.splitlines())
        for indent, block in fenced.findall(path.read_text())
    ]


def commands(path: Path) -> list[str]:
    """Return the shell commands of a page."""
    return [line for block in code_blocks(path, "bash") for line in block.splitlines()]


def scripts(environment: str) -> set[str]:
    """Return the names that `hatch run` knows in an environment."""
    environments = tomllib.loads((ROOT / "hatch.toml").read_text())["envs"]
    return set(environments[environment]["scripts"])


def test_ci_runs_exactly_the_readmes_test_command() -> None:
    test_command = commands(ROOT / "README.md")[1]
    ci = (ROOT / ".ci/run").read_text().splitlines()

    assert test_command == "hatch test"
    assert test_command in ci


def test_the_first_command_is_the_demo() -> None:
    first = commands(ROOT / "README.md")[0]

    assert first == "pip install hatch && hatch run demo"
    assert "demo" in scripts("default")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_hatch_script_of_a_page_exists(page: Path) -> None:
    named = re.findall(r"hatch run (?:(\w+):)?(\w+)", page.read_text())

    unknown = [
        f"{environment or 'default'}:{script}"
        for environment, script in named
        if script not in scripts(environment or "default") | {"python"}
    ]

    assert unknown == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)", page.read_text())

    missing = [
        target for target in targets if "://" not in target and not (page.parent / target).exists()
    ]

    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_python_block_of_a_page_compiles(page: Path) -> None:
    for block in code_blocks(page, "python"):
        compile(block, str(page), "exec")


def test_every_readme_installs_extras_that_core_has() -> None:
    core = tomllib.loads((ROOT / "packages/core/pyproject.toml").read_text())["project"]
    offered = set(core["optional-dependencies"])

    for page in (page for page in PAGES if page.name == "README.md"):
        for extras in re.findall(r"django-q-core\[([\w,-]+)\]", page.read_text()):
            assert set(extras.split(",")) <= offered, page


def test_every_changelog_fragment_has_a_known_kind() -> None:
    folder = ROOT / "changelog.d"
    kinds = set(re.findall(r"^\| `(\w+)` \|", (folder / "README.md").read_text(), re.MULTILINE))

    fragments = [path.name.split(".") for path in folder.glob("*.md") if path.name != "README.md"]

    assert fragments
    assert all(len(parts) == 3 and parts[1] in kinds for parts in fragments), fragments
