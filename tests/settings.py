"""Django settings of the test-suite: one SQLite database, the ORM broker."""

import os
import tempfile
from pathlib import Path

SECRET_KEY = "not-a-secret-but-long-enough-to-be-a-key"
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", "django_q"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get(
            "DJANGO_Q_TEST_DB", str(Path(tempfile.gettempdir()) / "django_q_test.sqlite3")
        ),
    }
}
Q_CLUSTER = {"name": "tests", "orm": "default"}
