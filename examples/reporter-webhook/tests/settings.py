"""A Django project for the tests: no database server, no migrations."""

SECRET_KEY = "not-a-secret-but-long-enough-to-be-a-key"
USE_TZ = True
INSTALLED_APPS = ["django.contrib.contenttypes", "django_q"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
Q_CLUSTER = {"name": "tests"}
