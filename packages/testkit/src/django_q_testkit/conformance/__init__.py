"""The conformance suite for brokers: one class to inherit, one method to write.

    from django_q_testkit import BrokerConformance
    from my_broker import MyBroker


    class TestMyBroker(BrokerConformance):
        def make_broker(self, list_key):
            return MyBroker(list_key)

Every capability is tested both ways: what a broker declares must hold, and what it does not
declare must be refused with `UnsupportedByBroker` or be absent, never half there.
"""

from __future__ import annotations

from django_q_testkit.conformance.asked import asked
from django_q_testkit.conformance.claims import Claims
from django_q_testkit.conformance.housekeeping import Housekeeping
from django_q_testkit.conformance.leases import Leases
from django_q_testkit.conformance.options import Options
from django_q_testkit.conformance.overrides import Overrides
from django_q_testkit.conformance.releases import Releases
from django_q_testkit.conformance.sequences import Sequences
from django_q_testkit.conformance.transactions import Transactions

__all__ = ["BrokerConformance", "asked"]


class BrokerConformance(
    Claims, Leases, Releases, Options, Transactions, Housekeeping, Overrides, Sequences
):
    """All that is expected of a broker."""
