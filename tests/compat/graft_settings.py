"""Django Q2's settings for its tests, with servers and files of this run's own."""

import os

from django_q.tests import settings as theirs

for _name in dir(theirs):
    if _name.isupper():
        globals()[_name] = getattr(theirs, _name)

_REDIS = os.environ["GRAFT_REDIS"]

CACHES = {"default": theirs.CACHES["default"] | {"LOCATION": _REDIS}}
Q_CLUSTER = theirs.Q_CLUSTER | {"redis": _REDIS}
# A file, since the processes of a cluster cannot see into this one's memory.
DATABASES = {
    "default": theirs.DATABASES["default"] | {"TEST": {"NAME": os.environ["GRAFT_DATABASE"]}}
}
