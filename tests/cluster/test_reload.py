"""`qcluster --reload`: what is watched, when the cluster starts anew, and how all of it stops."""

import logging
import os
import shutil
import signal
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils.autoreload import BaseReloader, autoreload_started

import django_q
import django_q_broker_orm
import django_q_broker_redis
from django_q.management import watching
from django_q.management.reloading import Reloader
from django_q.management.watching import Snapshot, Tree, Watch, changes, code_folders
from tests.harness import ROOT, ClusterProcess, Project

# What is watched


def write(folder: Path, *names: str) -> list[Path]:
    """Write empty files, and return their paths."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def watched_below(folder: Path) -> set[str]:
    """Return what a new watch sees there."""
    found = Watch().snapshot()
    return {str(file.relative_to(folder)) for file in found if file.is_relative_to(folder)}


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory from which code can be imported."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    return tmp_path


def test_what_could_be_imported_from_a_site_is_watched_and_nothing_that_was_installed(
    site: Path, settings: Any
) -> None:
    settings.MEDIA_ROOT = str(site / "media")
    wanted = ["manage.py", "shop/tasks.py", "shop/deep/inside/more.py"]
    write(site, *wanted)
    write(
        site,
        "notes.txt",
        ".hidden/a.py",
        "lib-dynamic/a.py",
        "media/upload.py",
        "node_modules/gyp/a.py",
        "shop/.#tasks.py",
        "shop/__pycache__/a.py",
        "venv/pyvenv.cfg",
        "venv/share/a.py",
        "vendor/site-packages/a.py",
    )

    assert watched_below(site) == set(wanted)


def test_a_place_of_installed_packages_and_the_root_of_the_machine_are_not_walked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "site-packages/lib.py", "inner/a.py", "not-a-name/a.py")
    names = ("", "inner", "not-a-name", "site-packages")
    places = ["/", os.path.dirname(os.__file__), *(str(tmp_path / name) for name in names)]
    monkeypatch.setattr(sys, "path", places)

    found = [folder for folder in code_folders() if not folder.is_relative_to(ROOT)]

    assert found == [tmp_path, tmp_path / "not-a-name"]


def test_a_site_can_have_more_watched_as_for_runserver(site: Path) -> None:
    write(site, "data/.env", "data/page-parts/a.html", "data/b.yaml", "data/deep/c.yaml")

    def watch_more(sender: BaseReloader, **kwargs: object) -> None:
        sender.extra_files.add(site / "data/.env")
        sender.watch_dir(site / "data", "**/*.html")
        sender.watch_dir(site / "data", "*.yaml")

    autoreload_started.connect(watch_more)
    try:
        found = watched_below(site)
    finally:
        autoreload_started.disconnect(watch_more)

    assert found == {"data/.env", "data/page-parts/a.html", "data/b.yaml"}


def test_templates_and_translations_are_watched_which_workers_keep_in_memory(
    site: Path, settings: Any
) -> None:
    settings.LOCALE_PATHS = [site / "locale"]
    settings.TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "DIRS": [site / "pages", site / "site-packages" / "pages"],
        }
    ]
    wanted = ["pages/mail/hello-you.txt", "locale/nl/LC_MESSAGES/django.mo"]
    write(site, *wanted, "pages/.hello.swp", "pages/hello~", "site-packages/pages/a.html")

    assert watched_below(site) == set(wanted)


def test_a_new_a_changed_and_a_deleted_file_are_changes(site: Path) -> None:
    changed, deleted, untouched = write(site, "a.py", "b.py", "c.py")
    watch = Watch()
    before = watch.snapshot()

    changed.write_text("x = 1")
    deleted.unlink()
    new, deep = write(site, "d.py", "package/e.py")

    found = [file for file in changes(before, watch.snapshot()) if file.is_relative_to(site)]
    assert untouched in before
    assert found == sorted([changed, deleted, new, deep])


def test_only_directories_that_changed_are_listed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("old", "older", "new"):
        write(tmp_path, f"{name}/a.py")
        os.utime(tmp_path / name, (0, 0))
    os.utime(tmp_path, (0, 0))
    tree = Tree(tmp_path, "*.py")
    assert len(list(tree.files())) == 3
    listed = []
    scandir = os.scandir
    monkeypatch.setattr(
        watching.os, "scandir", lambda path: listed.append(path.name) or scandir(path)
    )

    write(tmp_path, "new/b.py")

    assert len(list(tree.files())) == 4
    assert listed == ["new"]


# When the child is started anew

FILE, OTHER = Path("a.py"), Path("b.py")


class Script:
    """A watcher that sees what it is told to; the last sight for ever."""

    def __init__(self, *sights: Snapshot) -> None:
        self.sights = list(sights)

    def snapshot(self) -> Snapshot:
        """Return the next sight."""
        return self.sights.pop(0) if len(self.sights) > 1 else self.sights[0]


def sight(*versions: int) -> Snapshot:
    """Return a snapshot of up to two files."""
    return {file: (version, 0) for file, version in zip((FILE, OTHER), versions, strict=False)}


def reload(code: str, watch: Script, *arguments: object) -> int:
    """Run a Python program under a reloader that loses no time."""
    command = [sys.executable, "-S", "-c", textwrap.dedent(code), *map(str, arguments)]
    reloader = Reloader(command, watch, look_seconds=0.02, settle_seconds=0, patience_seconds=0.1)
    return reloader.run()


FAIL_UNTIL = """\
import sys
runs = open(sys.argv[1], "a")
runs.write("x")
sys.exit(int(sys.argv[2]) - runs.tell())
"""


@pytest.fixture(autouse=True)
def hear_all(caplog: pytest.LogCaptureFixture) -> None:
    """Let `caplog` have all that is logged."""
    caplog.set_level(logging.INFO, "django-q")


def test_a_program_that_fails_runs_again_after_a_change_and_what_ends_well_is_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class OneChangeForEachFailure(Script):
        def snapshot(self) -> Snapshot:
            return sight(sum("waiting" in message for message in caplog.messages))

    status = reload(FAIL_UNTIL, OneChangeForEachFailure(), tmp_path / "runs", 3)

    assert status == 0
    assert caplog.messages == [
        "The cluster ended with status 2: waiting for a change",
        "a.py changed, restarting",
        "The cluster ended with status 1: waiting for a change",
        "a.py changed, restarting",
    ]


def test_files_that_are_saved_one_after_the_other_are_one_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = """
        import os, signal, sys
        if os.path.exists(sys.argv[1]):
            sys.exit(0)
        open(sys.argv[1], "w").close()
        signal.pause()
    """
    note = tmp_path / "note"

    class SavedOnceItRuns(Script):
        def snapshot(self) -> Snapshot:
            return super().snapshot() if note.exists() else sight(1, 1)

    status = reload(code, SavedOnceItRuns(sight(2, 1), sight(2, 2), sight(3, 2)), note)

    assert status == 0
    assert caplog.messages == ["a.py and 1 more changed, restarting"]


def test_a_file_that_is_gone_for_a_moment_is_no_change(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = """
        import sys
        open(sys.argv[1]).read()  # until it is opened for writing
    """
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    class GoneForAMoment(Script):
        def snapshot(self) -> Snapshot:
            if len(self.sights) == 1 and fifo.exists():
                fifo.open("w").close()
                fifo.unlink()
            return super().snapshot()

    status = reload(code, GoneForAMoment(sight(1, 1), sight(1), sight(1, 1)), fifo)

    assert status == 0
    assert caplog.messages == []


def test_a_child_that_does_not_stop_soon_after_a_change_is_told_to_stop_now(
    tmp_path: Path,
) -> None:
    code = """
        import os, signal, sys
        def told(number, frame):
            open(note, "a").write("told ")
            if open(note).read() == "told told ":
                sys.exit(1)
        note = sys.argv[1]
        if os.path.exists(note):
            sys.exit(0)
        signal.signal(signal.SIGTERM, told)
        open(note, "w").close()
        while True:
            signal.pause()
    """
    note = tmp_path / "note"

    class ChangesOnceItRuns(Script):
        def snapshot(self) -> Snapshot:
            return sight(2 if note.exists() else 1)

    status = reload(code, ChangesOnceItRuns(), note)

    assert status == 0
    assert note.read_text() == "told told "


def test_each_signal_is_passed_on_once_and_the_status_is_that_of_the_child(
    tmp_path: Path,
) -> None:
    code = """
        import os, signal, sys
        def told(number, frame):
            note = open(sys.argv[1], "a")
            note.write("told ")
            if note.tell() > len("told "):
                sys.exit(4)
            os.kill(os.getppid(), signal.SIGHUP)
        signal.signal(signal.SIGTERM, told)
        os.kill(os.getppid(), signal.SIGINT)
        while True:
            signal.pause()
    """
    before = signal.getsignal(signal.SIGINT)

    status = reload(code, Script(sight(1)), tmp_path / "note")

    assert status == 4
    assert (tmp_path / "note").read_text() == "told told "
    assert signal.getsignal(signal.SIGINT) is before


def test_a_stop_just_after_a_change_is_a_stop_and_no_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    code = """
        import signal, sys
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(5))
        open(sys.argv[1], "w").close()
        signal.pause()
    """
    note = tmp_path / "note"

    class StoppedWhileSaving(Script):
        def snapshot(self) -> Snapshot:
            if note.exists() and len(self.sights) == 1:
                signal.raise_signal(signal.SIGTERM)
            return super().snapshot() if note.exists() else sight(1)

    assert reload(code, StoppedWhileSaving(sight(2), sight(3)), note) == 5
    assert caplog.messages == []


def test_a_stop_before_the_child_hears_signals_is_orderly(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getppid(), signal.SIGTERM); signal.pause()"

    assert reload(code, Script(sight(1))) == 0


def test_a_program_that_cannot_be_started_again_is_told_how_to_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["-c"])
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)

    with pytest.raises(CommandError, match=r"cannot start this program again .* by manage\.py"):
        call_command("qcluster", reload=True)


# Clusters

APART = f"""\
import os, sys
here = os.path.dirname(__file__)
sys.path[:] = [
    os.path.join(here, "vendor", "site-packages"),
    *(p for p in sys.path if p.startswith(sys.prefix) or not p.startswith({str(ROOT)!r})),
]
"""

TASKS = """\
def value():
    return {value}

def wait(path):
    print("waiting in the shop", flush=True)
    open(path).close()
"""


@pytest.fixture
def shop(project: Project) -> Path:
    """Return the folder of an app in the project, which does not see this repository: whoever
    edits that while the tests run shall not be taken for its developer."""
    project.starts_anew = True
    (project.path / "sitecustomize.py").write_text(APART)
    packages = project.path / "vendor" / "site-packages"
    for package in (django_q, django_q_broker_orm, django_q_broker_redis):
        folder = Path(str(package.__file__)).parent
        shutil.copytree(
            folder, packages / folder.name, ignore=shutil.ignore_patterns("__pycache__")
        )
    app = project.path / "shop"
    write(app, "__init__.py", "models.py")
    (app / "tasks.py").write_text(TASKS.format(value=1))
    project.configure(
        {"ALT_CLUSTERS": {"short": {}, "long": {}}, "workers": 1},
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django_q", "shop"],
    )
    return app


VALUE = """\
from django_q.tasks import async_task, result
result(async_task("shop.tasks.value"), wait=20000)
"""

BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}
"""As it is at a developer's, whatever the tests run under."""


def start(project: Project, *arguments: str) -> ClusterProcess:
    """Start a Python program that becomes a cluster."""
    cluster = ClusterProcess([project.interpreter, *arguments], project, project.env | BYTECODE)
    project.clusters.append(cluster)
    return cluster


def save(path: Path, text: str) -> None:
    """Write a file as an editor does, but at a time that no other version of it has: Python takes
    what it has compiled for the same source where size and second are the same."""
    before = path.stat().st_mtime
    path.write_text(text)
    os.utime(path, (before + 10, before + 10))


def test_each_change_restarts_the_cluster_and_a_mistake_waits_to_be_mended(
    project: Project, shop: Path
) -> None:
    cluster = start(project, "manage.py", "qcluster", "--reload")
    cluster.wait_for_line(r"WARNING --reload is for development, and DEBUG is False")
    cluster.wait_for_line(r"running\.")
    assert project.run(VALUE) == 1

    changed = cluster.mark()
    save(shop / "tasks.py", TASKS.format(value=2))
    cluster.wait_for_line(r"INFO \S+/shop/tasks\.py changed, restarting", since=changed)
    cluster.wait_for_line("has stopped", since=changed)
    cluster.wait_for_line(r"running\.", since=changed)
    assert project.run(VALUE) == 2

    broken = cluster.mark()
    save(shop / "models.py", "def")
    cluster.wait_for_line(r"shop/models\.py changed, restarting", since=broken)
    cluster.wait_for_line("The cluster ended with status 1: waiting for a change", since=broken)
    assert sum("SyntaxError" in line for line in cluster.lines) == 1

    mended = cluster.mark()
    (shop / "models.py").unlink()
    cluster.wait_for_line(r"shop/models\.py changed, restarting", since=mended)
    cluster.wait_for_line(r"running\.", since=mended)

    assert cluster.stop() == 0
    assert project.processes() == []
    assert sum("changed, restarting" in line for line in cluster.lines) == 3
    assert sum("has stopped" in line for line in cluster.lines) == 3
    assert "Traceback" not in "".join(cluster.lines[:broken] + cluster.lines[mended:])


def test_a_ctrl_c_counts_once_for_the_clusters_of_several_queues(
    project: Project, shop: Path
) -> None:
    (settings,) = write(project.path, "elsewhere/site_settings.py")
    settings.write_text("from project_settings import *\nDEBUG = True\n")
    queues = ["-n", "short", "-n", "long", "--pythonpath", "elsewhere"]
    cluster = start(
        project, "-m", "django", "qcluster", "--reload", *queues, "--settings", "site_settings"
    )
    gate = project.gate()
    project.run(
        f"from django_q.tasks import async_task\n"
        f"async_task('shop.tasks.wait', {gate.path!r}, cluster='long')"
    )
    cluster.wait_for_line("waiting in the shop", timeout=60)

    cluster.send(signal.SIGINT, group=True)
    cluster.wait_for_line(r"stopping\.", count=2)
    gate.open()

    # Of two signals the second would have ended the task.
    assert cluster.wait() == 0
    assert [task["success"] for task in project.tasks()] == [1]
    assert project.processes() == []
    assert "DEBUG is False" not in cluster.log


CALL = """\
import django
from django.core.management import call_command
django.setup()
call_command("qcluster", reload=True)
"""


def test_a_program_that_calls_the_command_is_run_again_and_its_death_stops_the_cluster(
    project: Project, shop: Path
) -> None:
    (project.path / "work.py").write_text(CALL)
    cluster = start(project, "work.py")
    cluster.wait_for_line(r"running\.")

    cluster.kill()

    cluster.wait_for_line("has stopped")
    project.wait_until(lambda: not project.processes(), what="nothing to be left")
    assert sum("--reload is for development" in line for line in cluster.lines) == 1
