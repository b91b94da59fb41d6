"""Django settings of the demo: one SQLite database, set up as the documentation recommends."""

import os
from pathlib import Path

from demo.brokers import BROKERS

DATA = Path(os.environ.get("DEMO_DATA") or Path(__file__).parent / ".data")
DATABASE = DATA / "demo.sqlite3"
COLLATED = DATA / "collated.jsonl"
CLUSTER_LOG = DATA / "cluster.log"

SECRET_KEY = "the demo signs its tasks with this; a site keeps its own secret"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_q"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(DATABASE),
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "timeout": 20,
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    }
}
Q_CLUSTER = {
    "name": "demo",
    "workers": int(os.environ.get("DEMO_WORKERS") or os.cpu_count() or 1),
    "timeout": 60,
    "retry": 90,
    "max_attempts": 1,
    "save_limit": 0,
    **BROKERS[os.environ.get("DEMO_BROKER") or "orm"],
}
