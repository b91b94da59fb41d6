"""Says how many packages wait or are claimed, once for every line that it reads."""

import sys

import django


def left() -> int:
    """Return how many packages the broker still has."""
    return broker.queue_size() + (broker.lock_size() or 0)


if __name__ == "__main__":
    django.setup()
    from django_q.brokers import get_broker

    broker = get_broker()
    for _ in sys.stdin:
        print(left(), flush=True)
