"""What is special about the SQS broker: its wire, delays of any length, limits, and errors."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any
from uuid import uuid4

import pytest
from botocore.stub import Stubber
from pytest_django import Settings

from django_q.brokers import get_broker
from django_q.conf import get_settings
from django_q.errors import (
    BrokerUnavailable,
    ConfigurationError,
    EnqueueError,
    TaskRefused,
    UnsupportedByBroker,
)
from django_q.tasks import async_task
from django_q_broker_sqs import clock
from django_q_broker_sqs.broker import Sqs
from django_q_broker_sqs.errors import SqsRefused
from django_q_testkit.conformance.bench import ahead, claim_now, claim_one
from tests import sqs_server

HOUR = 3600
SECRET = "s3cr3t-key"


@pytest.fixture
def server(sqs: sqs_server.Sqs) -> sqs_server.Sqs:
    """Return the server, with the time that everybody has."""
    sqs.be_punctual()
    return sqs


@pytest.fixture(autouse=True)
def _settings(server: sqs_server.Sqs, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the server, whose clock is also the broker's."""
    configure(settings, server)
    since_boot, time_of_day = clock.since_boot, clock.time_of_day
    monkeypatch.setattr(clock, "since_boot", lambda: since_boot() + server.put_forward)
    monkeypatch.setattr(clock, "time_of_day", lambda: time_of_day() + server.put_forward)


def configure(settings: Settings, server: sqs_server.Sqs, **extra: Any) -> None:
    settings.Q_CLUSTER = {"name": "tests", "sqs": server.settings(**extra)}


def mistakes() -> list[str]:
    return list(Sqs.problems(get_settings()))


def new_broker(suffix: str = "") -> Sqs:
    return Sqs(f"test-{uuid4().hex[:12]}{suffix}")


@pytest.fixture
def broker() -> Sqs:
    """Return a broker on a queue of its own."""
    return new_broker()


def count_calls(broker: Sqs) -> Counter[str]:
    """Count what is asked of the server from now on."""
    calls = Counter[str]()

    def note(model: Any, **_rest: Any) -> None:
        calls[model.name] += 1

    broker.connection.meta.events.register("before-call.sqs", note)
    return calls


class TestWire:
    def test_a_message_is_the_package_and_nothing_else(
        self, broker: Sqs, server: sqs_server.Sqs
    ) -> None:
        broker.enqueue("signed:package")

        url = server.client().get_queue_url(QueueName=broker.list_key)["QueueUrl"]
        (message,) = server.client().receive_message(QueueUrl=url, MessageAttributeNames=["All"])[
            "Messages"
        ]
        assert message["Body"] == "signed:package"
        assert "MessageAttributes" not in message

    def test_messages_of_django_q2_are_understood(
        self, broker: Sqs, server: sqs_server.Sqs
    ) -> None:
        url = server.client().create_queue(QueueName=broker.list_key)["QueueUrl"]
        server.client().send_message(QueueUrl=url, MessageBody="theirs")

        assert claim_one(broker).package == "theirs"

    def test_a_bare_receipt_handle_acknowledges(self, broker: Sqs, server: sqs_server.Sqs) -> None:
        broker.enqueue("theirs")
        url = server.client().get_queue_url(QueueName=broker.list_key)["QueueUrl"]
        (message,) = server.client().receive_message(QueueUrl=url)["Messages"]

        broker.acknowledge(message["ReceiptHandle"])

        assert broker.lock_size() == 0

    def test_a_queue_that_we_make_keeps_messages_as_long_as_sqs_can(self, broker: Sqs) -> None:
        assert broker.queue.retention() == 14 * 24 * HOUR

    def test_a_queue_that_is_there_is_used_as_it_is(
        self, broker: Sqs, server: sqs_server.Sqs
    ) -> None:
        attributes = {"MessageRetentionPeriod": "7200"}
        server.client().create_queue(QueueName=broker.list_key, Attributes=attributes)

        assert broker.max_delay == HOUR


class TestBatches:
    def test_ten_go_into_one_call(self, broker: Sqs) -> None:
        broker.ping()
        calls = count_calls(broker)

        broker.enqueue_many([f"package-{number}" for number in range(30)])
        found = broker.claim(30, 60)
        broker.extend([each.receipt for each in found], 90)
        broker.acknowledge_many([each.receipt for each in found])

        assert len(found) == 30
        assert calls == {
            "SendMessageBatch": 3,
            "ReceiveMessage": 3,
            "ChangeMessageVisibilityBatch": 3,
            "DeleteMessageBatch": 3,
        }

    def test_a_call_carries_no_more_bytes_than_it_may(self, broker: Sqs) -> None:
        packages = [str(number) * 100_000 for number in range(6)]
        calls = count_calls(broker)

        broker.enqueue_many(list(packages))

        assert calls["SendMessageBatch"] == 3
        assert sorted(each.package for each in broker.claim(6, 60)) == packages

    def test_an_outage_in_between_says_what_was_taken(self, broker: Sqs) -> None:
        broker.enqueue_many([])
        answer = {"Successful": [sent(number) for number in range(10)], "Failed": []}
        broker.ping()
        with Stubber(broker.connection) as stub:
            stub.add_response("send_message_batch", answer)
            stub.add_client_error("send_message_batch", "ServiceUnavailable", "", 503)
            broker.queue.is_fifo = True

            with pytest.raises(EnqueueError, match="10 of 12") as refused:
                broker.enqueue_many([str(number) for number in range(12)])

        assert len(refused.value.accepted) == 10
        assert isinstance(refused.value.__cause__, BrokerUnavailable)


def sent(number: int) -> dict[str, str]:
    return {"Id": str(number), "MessageId": f"message-{number}", "MD5OfMessageBody": "none"}


class TestDelays:
    @pytest.mark.parametrize("suffix", ["", ".fifo"])
    def test_a_long_delay_is_kept_by_hiding_the_message_again(
        self, server: sqs_server.Sqs, suffix: str
    ) -> None:
        broker = new_broker(suffix)
        broker.enqueue("tomorrow", available_at=ahead(30 * HOUR))

        for hours in (0.2, 0.1, 11, 12, 6):
            server.advance(hours * HOUR)
            assert claim_now(broker) == []

        server.advance(HOUR)
        delivery = claim_one(broker)
        assert (delivery.package, delivery.lapses) == ("tomorrow", 0)

    def test_what_is_not_due_costs_no_call_in_between(
        self, broker: Sqs, server: sqs_server.Sqs
    ) -> None:
        broker.enqueue("this evening", available_at=ahead(10 * HOUR))
        server.advance(HOUR)
        claim_now(broker)
        calls = count_calls(broker)

        server.advance(HOUR)
        claim_now(broker)

        assert calls == {"ReceiveMessage": 1}


class TestLeases:
    def test_a_claim_is_renewed_for_twelve_hours_in_all(
        self, broker: Sqs, server: sqs_server.Sqs
    ) -> None:
        broker.enqueue("endless")
        receipt = claim_one(broker, 4 * HOUR).receipt

        for _ in range(3):
            server.advance(3.9 * HOUR)
            receipt = broker.extend([receipt], 4 * HOUR)[receipt]
            assert receipt is not None

        server.advance(0.2 * HOUR)
        assert claim_now(broker) == []
        server.advance(0.2 * HOUR)
        assert broker.extend([receipt], 4 * HOUR) == {receipt: None}
        assert claim_one(broker).package == "endless"

    def test_a_receipt_is_as_long_after_a_renewal(self, broker: Sqs) -> None:
        broker.enqueue("renewed")
        receipt = claim_one(broker).receipt

        assert len(broker.extend([receipt], 4 * HOUR)[receipt]) == len(receipt)


class TestFifo:
    def groups(self, broker: Sqs, server: sqs_server.Sqs) -> list[tuple[str, str]]:
        url = server.client().get_queue_url(QueueName=broker.list_key)["QueueUrl"]
        found = server.client().receive_message(
            QueueUrl=url, AttributeNames=["All"], MaxNumberOfMessages=10
        )
        attributes = [each["Attributes"] for each in found["Messages"]]
        return [(each["MessageGroupId"], each["MessageDeduplicationId"]) for each in attributes]

    def test_a_task_is_told_apart_by_its_id_and_put_in_order_by_its_group(
        self, server: sqs_server.Sqs
    ) -> None:
        broker = new_broker(".fifo")

        grouped = async_task("math.copysign", 1, -1, group="payments", broker=broker)
        alone = async_task("math.copysign", 1, -1, broker=broker)

        assert self.groups(broker, server) == [("payments", grouped), (alone, alone)]

    def test_any_group_has_an_id_that_sqs_takes(self, server: sqs_server.Sqs) -> None:
        broker = new_broker(".fifo")

        async_task("math.copysign", 1, -1, group="Größe 1", broker=broker)

        ((group, _),) = self.groups(broker, server)
        assert len(group) == 64

    def test_work_of_a_group_waits_for_what_was_before_it(self) -> None:
        broker = new_broker(".fifo")
        for number in range(2):
            async_task("math.copysign", number, -1, group="payments", broker=broker)
        first = claim_one(broker)

        assert claim_now(broker) == []
        broker.acknowledge(first.receipt)
        assert len(claim_now(broker)) == 1


class TestLimits:
    def test_a_task_over_the_limit_is_refused_with_both_sizes(self, broker: Sqs) -> None:
        with pytest.raises(TaskRefused, match=r"has \d{6} bytes; .* at most 262144"):
            async_task("math.copysign", os.urandom(250_000).hex(), broker=broker)

    def test_a_setting_raises_the_limit(self, settings: Settings, server: sqs_server.Sqs) -> None:
        configure(settings, server, max_package_bytes=1024 * 1024)
        broker = new_broker()

        broker.enqueue_many(["x" * 1024 * 1024] * 2)

        assert Sqs.max_package_bytes == 1024 * 1024
        assert len(claim_one(broker).package) == 1024 * 1024

    def test_a_queue_that_takes_less_is_warned_of(
        self, broker: Sqs, server: sqs_server.Sqs
    ) -> None:
        attributes = {"MaximumMessageSize": "2048"}
        server.client().create_queue(QueueName=broker.list_key, Attributes=attributes)

        (sentence,) = broker.warnings()

        assert "2048" in sentence
        with pytest.raises(UnsupportedByBroker, match="2048"):
            broker.enqueue("x" * 3000)

    @pytest.mark.parametrize("package", ["bell\x07", "\ufffe", "", b"\xff\xfe"])
    def test_what_sqs_does_not_take_is_refused(self, broker: Sqs, package: str | bytes) -> None:
        with pytest.raises(UnsupportedByBroker, match="SQS"):
            broker.enqueue(package)

    @pytest.mark.parametrize("name", ["django_q:tests", "Größe", "x" * 81, "a.b", ".fifo"])
    def test_a_name_that_no_queue_can_have_is_refused(self, name: str) -> None:
        with pytest.raises(ConfigurationError, match="no queue of the name"):
            Sqs(name)

    def test_a_second_purge_within_a_minute_says_when_to_try_again(
        self, broker: Sqs, server: sqs_server.Sqs
    ) -> None:
        broker.purge_queue()

        with pytest.raises(BrokerUnavailable, match="60 seconds"):
            broker.purge_queue()

        server.advance(61)
        broker.purge_queue()


class TestDeadLetters:
    @pytest.fixture
    def dead(self, broker: Sqs, server: sqs_server.Sqs) -> Sqs:
        """Return a broker on the queue to which the other's go after two receives."""
        dead = new_broker()
        arn = dead.queue.ask(["QueueArn"])["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 2})
        server.client().create_queue(
            QueueName=broker.list_key, Attributes={"RedrivePolicy": policy}
        )
        return dead

    def test_what_is_about_to_be_moved_is_told(
        self,
        broker: Sqs,
        dead: Sqs,
        server: sqs_server.Sqs,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        broker.enqueue("pill")
        for _ in range(2):
            claim_one(broker, 10)
            server.advance(11)

        assert claim_now(broker) == []
        assert claim_one(dead).package == "pill"
        (line,) = [each.message for each in caplog.records if "dead-letter" in each.message]
        assert dead.list_key in line

    def test_a_queue_that_moves_before_a_failure_is_recorded_is_warned_of(
        self, broker: Sqs, dead: Sqs
    ) -> None:
        (sentence,) = broker.warnings()

        assert "maxReceiveCount to 6 or more" in sentence


class TestErrors:
    def test_a_server_that_is_away_is_an_outage(self, settings: Settings) -> None:
        settings.Q_CLUSTER = {
            "name": "tests",
            "sqs": {
                "aws_region": "eu-central-1",
                "aws_access_key_id": "key",
                "aws_secret_access_key": SECRET,
                "endpoint_url": "http://127.0.0.1:1",
            },
        }

        with pytest.raises(BrokerUnavailable, match=r"SQS at 127.0.0.1:1") as away:
            new_broker().ping()

        assert SECRET not in str(away.value) + new_broker().info()

    @pytest.mark.parametrize(
        ("code", "status", "expected"),
        [
            ("InvalidClientTokenId", 403, SqsRefused),
            ("SignatureDoesNotMatch", 403, SqsRefused),
            ("AccessDenied", 403, SqsRefused),
            ("ExpiredToken", 403, BrokerUnavailable),
            ("ThrottlingException", 400, BrokerUnavailable),
            ("InternalFailure", 500, BrokerUnavailable),
            ("AWS.SimpleQueueService.QueueDeletedRecently", 400, BrokerUnavailable),
        ],
    )
    def test_each_answer_is_one_of_two_errors(
        self, broker: Sqs, code: str, status: int, expected: type[Exception]
    ) -> None:
        with Stubber(broker.connection) as stub:
            stub.add_client_error("get_queue_url", code, "said", status)

            with pytest.raises(expected):
                broker.ping()

    def test_a_missing_permission_is_named(self, broker: Sqs) -> None:
        broker.ping()
        with Stubber(broker.connection) as stub:
            stub.add_client_error("send_message_batch", "AccessDenied", "no", 403)

            with pytest.raises(SqsRefused, match="sqs:SendMessage"):
                broker.enqueue("package")

    def test_a_queue_that_was_deleted_meanwhile_is_made_again(
        self, broker: Sqs, server: sqs_server.Sqs
    ) -> None:
        broker.enqueue("gone")
        url = server.client().get_queue_url(QueueName=broker.list_key)["QueueUrl"]
        server.client().delete_queue(QueueUrl=url)

        broker.enqueue("new")

        assert claim_one(broker).package == "new"


class TestSettings:
    @pytest.mark.parametrize(
        ("extra", "said"),
        [
            ({"aws_regoin": "eu"}, "Did you mean 'aws_region'"),
            ({"receive_message_wait_time_seconds": 21}, "from 0 to 20"),
            ({"receive_message_wait_time_seconds": "5"}, "whole number"),
            ({"max_package_bytes": 2**21}, "from 1 to 1048576"),
            ({"profile_name": "no-such-profile"}, "no-such-profile"),
            ({"endpoint_url": "nonsense"}, "nonsense"),
        ],
        ids=str,
    )
    def test_a_mistake_is_said_without_contact(
        self, settings: Settings, server: sqs_server.Sqs, extra: dict[str, Any], said: str
    ) -> None:
        configure(settings, server, **extra)

        (sentence,) = mistakes()

        assert said in sentence
        with pytest.raises(ConfigurationError, match="sqs"):
            new_broker()

    def test_a_lease_longer_than_twelve_hours_is_a_mistake(
        self, settings: Settings, server: sqs_server.Sqs
    ) -> None:
        settings.Q_CLUSTER = {"name": "n", "sqs": server.settings(), "retry": 50_000}

        assert "12 hours" in mistakes()[0]

    def test_boto3_finds_what_is_not_set(
        self, settings: Settings, server: sqs_server.Sqs, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ENDPOINT_URL_SQS": server.url,
        }.items():
            monkeypatch.setenv(name, value)
        settings.Q_CLUSTER = {"name": "tests", "sqs": {}}

        broker = get_broker(f"test-{uuid4().hex[:12]}")
        broker.enqueue("found")

        assert claim_one(broker).package == "found"

    def test_short_polling_can_be_asked_for(
        self, settings: Settings, server: sqs_server.Sqs
    ) -> None:
        configure(settings, server, receive_message_wait_time_seconds=0)
        broker = new_broker()

        assert broker.claim(1, 60) == []

    @pytest.mark.needs_fork("the processes of prefork web servers are forked")
    def test_a_forked_process_has_connections_of_its_own(self, broker: Sqs) -> None:
        broker.enqueue("before")
        client = broker.connection
        pid = os.fork()
        if not pid:
            broker.enqueue("in between")
            os._exit(0 if broker.connection is not client else 1)

        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        broker.enqueue("after")
        assert broker.connection is client
        assert broker.queue_size() == 3
