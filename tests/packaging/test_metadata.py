"""What the distributions say about themselves agrees with each other and with the repository."""

import tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.harness import ROOT
from tests.packaging.conftest import Distribution

OUR_PREFIX = "django-q-"


def own_requirements(requirements: list[str]) -> list[Requirement]:
    return [
        requirement
        for requirement in map(Requirement, requirements)
        if canonicalize_name(requirement.name).startswith(OUR_PREFIX)
    ]


def core_of(distributions: list[Distribution]) -> Distribution:
    (core,) = [one for one in distributions if one.name == "django-q-core"]
    return core


def test_every_license_is_the_same(distributions: list[Distribution]) -> None:
    expected = (ROOT / "LICENSE").read_text()

    different = [
        one.name for one in distributions if (one.folder / "LICENSE").read_text() != expected
    ]

    assert different == []


def test_every_version_comes_from_core(distributions: list[Distribution]) -> None:
    source = core_of(distributions).package / "__about__.py"

    for one in distributions:
        path = one.folder / one.pyproject["tool"]["hatch"]["version"]["path"]
        assert "version" in one.project["dynamic"]
        assert path.resolve() == source


def test_all_support_the_same_pythons(distributions: list[Distribution]) -> None:
    supported = {one.project["requires-python"] for one in distributions}

    assert len(supported) == 1


def test_every_plugin_requires_core_by_a_range(distributions: list[Distribution]) -> None:
    for one in distributions:
        if one.name == "django-q-core":
            continue
        core = own_requirements(one.project["dependencies"])

        assert [requirement.name for requirement in core] == ["django-q-core"], one.name
        assert {part.operator for part in core[0].specifier} == {">=", "<"}, one.name


def test_core_requires_nothing_but_its_three(distributions: list[Distribution]) -> None:
    required = {Requirement(text).name for text in core_of(distributions).project["dependencies"]}

    assert required == {"Django", "django-picklefield", "pluggy"}


def test_every_distribution_is_an_extra_of_core(distributions: list[Distribution]) -> None:
    extras = core_of(distributions).project["optional-dependencies"]
    offered = {
        requirement.name
        for name, texts in extras.items()
        if name != "all"
        for requirement in own_requirements(texts)
    }

    assert offered == {one.name for one in distributions} - {"django-q-core"}


def test_the_extra_all_takes_every_extra_but_the_testkit(
    distributions: list[Distribution],
) -> None:
    extras = core_of(distributions).project["optional-dependencies"]
    (everything,) = own_requirements(extras["all"])

    assert everything.extras == set(extras) - {"all", "testkit"}


def test_every_extra_is_in_cores_readme(distributions: list[Distribution]) -> None:
    core = core_of(distributions)
    readme = (core.folder / "README.md").read_text()

    missing = [n for n in core.project["optional-dependencies"] if f"| `{n}` |" not in readme]

    assert missing == []


def test_every_distribution_is_installed_by_every_environment(
    distributions: list[Distribution],
) -> None:
    environments = tomllib.loads((ROOT / "hatch.toml").read_text())["envs"]
    expected = {f"packages/{one.folder.name}" for one in distributions}

    for name, environment in environments.items():
        members = environment.get("workspace", {}).get("members")
        if members is not None:
            paths = {m if isinstance(m, str) else m["path"] for m in members}
            assert paths == expected, name


def test_every_import_package_is_checked(distributions: list[Distribution]) -> None:
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    names = {one.package.name for one in distributions}

    assert {ROOT / path for path in tools["mypy"]["files"]} >= {
        one.package.parent for one in distributions
    }
    assert set(tools["importlinter"]["root_packages"]) == names
    assert set(tools["coverage"]["run"]["source_pkgs"]) == names
