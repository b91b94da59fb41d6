"""Brokers as people wrote them for Django Q and Django Q2, importable by their dotted paths.

Those that keep files do so under the folder that the environment variable OLD_STYLE_FOLDER
names, so that every process that inherits it reaches the same queue.
"""

# Unannotated on purpose: this is what is out there.

import os
import time
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

from django.utils import timezone

from django_q.brokers import Broker
from django_q.brokers.orm import ORM
from django_q.conf import Conf

FOLDER_VARIABLE = "OLD_STYLE_FOLDER"


class Renamed(Broker):
    """The example of the manual: nothing but a name."""

    def info(self):
        return "My Custom Broker"


class FileList(Broker):
    """A list of files that hands each out once and for all; knows no receipts, waits for
    nothing."""

    def enqueue(self, task):
        name = f"{time.time_ns():020d}-{uuid4().hex}"
        draft = self.connection / f"{name}.draft"
        draft.write_text(task)
        draft.rename(self.connection / f"{name}.task")
        return name

    def dequeue(self):
        for path in self.waiting():
            taken = path.with_suffix(".taken")
            try:
                path.rename(taken)
            except FileNotFoundError:
                continue  # another process was faster
            task = taken.read_text()
            taken.unlink()
            return [(None, task)]

    def queue_size(self):
        return len(self.waiting())

    def purge_queue(self):
        for path in self.waiting():
            path.unlink(missing_ok=True)

    def delete_queue(self):
        self.purge_queue()

    def ping(self):
        return self.connection.is_dir()

    def waiting(self):
        return sorted(self.connection.glob("*.task"))

    @staticmethod
    def get_connection(list_key=None):
        folder = Path(os.environ[FOLDER_VARIABLE]) / str(list_key)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


class FileReceipts(FileList):
    """Hands a file out again when `retry` seconds have passed without an acknowledgement."""

    def dequeue(self):
        self.put_back_what_lapsed()
        found = []
        for path in self.waiting()[: Conf.BULK]:
            taken = path.with_suffix(".taken")
            try:
                path.rename(taken)
            except FileNotFoundError:
                continue
            os.utime(taken)
            found.append((path.stem, taken.read_text()))
        return found

    def acknowledge(self, task_id):
        self.delete(task_id)

    def delete(self, task_id):
        (self.connection / f"{task_id}.taken").unlink(missing_ok=True)

    def fail(self, task_id):
        self.delete(task_id)

    def lock_size(self):
        return len(list(self.connection.glob("*.taken")))

    def put_back_what_lapsed(self):
        for path in self.connection.glob("*.taken"):
            try:
                if path.stat().st_mtime < time.time() - Conf.RETRY:
                    path.rename(path.with_suffix(".task"))
            except FileNotFoundError:
                continue


class AuditedORM(ORM):
    """Notes down what passes through Django Q2's own broker."""

    def enqueue(self, task):
        task_id = super().enqueue(task)
        self.note("enqueue", task_id)
        return task_id

    def dequeue(self):
        pairs = super().dequeue() or []
        for task_id, _task in pairs:
            self.note("dequeue", task_id)
        return pairs

    def acknowledge(self, task_id):
        super().acknowledge(task_id)
        self.note("acknowledge", task_id)

    def note(self, what, task_id):
        with (Path(os.environ[FOLDER_VARIABLE]) / "audit.log").open("a") as log:
            log.write(f"{what} {task_id}\n")


class HandmadeORM(ORM):
    """Replaces the query of Django Q2's own broker and hands out bare primary keys."""

    def dequeue(self):
        rows = self.get_connection(self.list_key)
        found = []
        for row in rows.filter(key=self.list_key, lock__lte=timezone.now()).order_by("id")[:1]:
            until = timezone.now() + timedelta(seconds=Conf.RETRY)
            if rows.filter(id=row.id, lock=row.lock).update(lock=until):
                found.append((row.pk, row.payload))
        return found
