"""The scheduler process: gives `Scheduler` what it works with."""

from __future__ import annotations

import logging
from typing import Any

from django.db import router

from django_q.cluster.crew import Crew, join_crew
from django_q.cluster.patience import Outage, Patience
from django_q.cluster.scheduler import Scheduler
from django_q.cluster.states import status_of
from django_q.models import Task

logger = logging.getLogger("django-q")


def run_scheduler(name: str, crew: Crew) -> None:
    """Queue due schedules, publish the status and prune, until the cluster stops."""
    join_crew(name, "scheduler")
    board, bell = crew.board, crew.board.scheduler_bell

    def snapshot() -> dict[str, Any]:
        return {
            **board.snapshot(),
            "cluster_id": crew.cluster_id,
            "pid": crew.main_pid,
            "name": crew.list_key,
            "status": status_of(board),
        }

    def stopping() -> bool:
        return bool(board.stopping)

    def wait(seconds: float) -> None:
        bell.wait(seconds, stopping)

    def rest(seconds: float) -> None:
        if not board.told:
            board.told = 1
            board.main_bell.shout()
        wait(seconds)

    patience = Patience(Outage.of_queue(crew), wait=wait, give_up=stopping)
    broker = patience.call(crew.broker, None, is_contact=False)
    if broker is None:
        return
    Scheduler(
        crew.settings,
        broker,
        snapshot,
        stopping=stopping,
        wait=rest,
        database=Outage.of_database(crew, router.db_for_write(Task)),
        queue=Outage.of_broker(crew, broker),
    ).run()
    logger.info("%s stopped scheduling", name)
