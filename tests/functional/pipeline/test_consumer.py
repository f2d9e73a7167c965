"""The example consumer reads each record exactly once, whatever comes twice, late, in another order or not at all."""

import json
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from botocore.exceptions import ClientError

from samples import consumer
from tests.support.buckets import Buckets, session

BUCKET = "processed"
KEY = "mission/dt=2026-03-01/a-1.jsonl"
CHUNK = "mission/dt=2026-03-01/b-1.000000001048576.jsonl"


class Deliveries:
    """A processed bucket that keeps versions, the queue of their events, and the file of the consumer."""

    def __init__(self, buckets: Buckets, path: Path) -> None:
        self.buckets, self.s3, self.sqs = buckets, buckets.s3, session().client("sqs")
        self.sqs.meta.events.register("before-parameter-build.sqs.ReceiveMessage", do_not_wait)
        self.url = self.sqs.create_queue(QueueName="deliveries", Attributes={"VisibilityTimeout": "0"})["QueueUrl"]
        self.path = path
        self.file = consumer.open_file(str(path))

    def put(self, key: str, *lines: str) -> str:
        """Deliver some lines; return the version."""
        return self.buckets.put(BUCKET, key, "".join(f"{line}\n" for line in lines).encode())

    def send_event(self, key: str, version: str) -> None:
        """Send the event of a version to the queue."""
        detail = {"bucket": {"name": BUCKET}, "object": {"key": key, "version-id": version}}
        self.sqs.send_message(QueueUrl=self.url, MessageBody=json.dumps({"detail": detail}))

    def from_queue(self) -> list[bool]:
        """Process the pending events; return for each whether it was new."""
        return [consumer.take(self.file, self.s3, *event) for event in consumer.from_queue(self.sqs, self.url)]

    def from_bucket(self, prefix: str = "mission/") -> list[bool]:
        """Process the stored objects; return for each whether it was new."""
        return [consumer.take(self.file, self.s3, *event) for event in consumer.from_bucket(self.s3, BUCKET, prefix)]

    def records(self) -> list[Any]:
        """Return the records of the consumer."""
        return self.file.execute("SELECT key, begins, document FROM records ORDER BY key, begins").fetchall()

    def pending(self) -> int:
        """Count the pending events."""
        answer = self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=["ApproximateNumberOfMessages"])
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])


def do_not_wait(params: dict[str, Any], **_: Any) -> None:
    params["WaitTimeSeconds"] = 0


@pytest.fixture
def deliveries(buckets: Buckets, tmp_path: Path) -> Iterator[Deliveries]:
    made = Deliveries(buckets, tmp_path / "records.db")
    yield made
    made.file.close()


def test_a_record_is_identified_by_its_key_and_byte_offset_and_a_duplicate_event_changes_nothing(
    deliveries: Deliveries,
) -> None:
    version = deliveries.put(KEY, '{"name":"Größe"}', '{"n":2}')
    deliveries.send_event(KEY, version)
    deliveries.send_event(KEY, version)

    assert deliveries.from_queue() == [True, False]
    assert deliveries.from_queue() == []
    assert deliveries.records() == [(KEY, 0, '{"name":"Größe"}'), (KEY, 19, '{"n":2}')]
    assert deliveries.pending() == 0


def test_a_later_attempt_replaces_the_whole_batch_and_an_empty_object_deletes_its_records(
    deliveries: Deliveries,
) -> None:
    deliveries.send_event(KEY, deliveries.put(KEY, "1", "3"))
    deliveries.send_event(CHUNK, deliveries.put(CHUNK, "9"))
    deliveries.from_queue()
    deliveries.send_event(KEY, deliveries.put(KEY, "1", "2", "3"))

    assert deliveries.from_queue() == [True]
    assert deliveries.records() == [(KEY, 0, "1"), (KEY, 2, "2"), (KEY, 4, "3"), (CHUNK, 0, "9")]

    deliveries.send_event(KEY, deliveries.put(KEY))
    assert deliveries.from_queue() == [True]
    assert deliveries.records() == [(CHUNK, 0, "9")]
    assert deliveries.from_bucket() == [False, False]


def test_an_event_out_of_order_changes_nothing(deliveries: Deliveries) -> None:
    older, newer = deliveries.put(KEY, "old"), deliveries.put(KEY, "new")
    deliveries.send_event(KEY, newer)
    deliveries.send_event(KEY, older)

    assert deliveries.from_queue() == [True, False]
    assert deliveries.records() == [(KEY, 0, "new")]


def test_missed_events_are_caught_up_with_once(deliveries: Deliveries) -> None:
    deliveries.put(KEY, "old")
    deliveries.put(KEY, "new")
    deliveries.put(CHUNK, "9")
    deliveries.put("other/dt=2026-03-01/c-1.jsonl", "not ours")

    assert deliveries.from_bucket() == [True, True]
    assert deliveries.from_bucket() == [False, False]
    assert [document for _, _, document in deliveries.records()] == ["new", "9"]


def test_a_crashed_consumer_gets_the_event_again(deliveries: Deliveries, monkeypatch: pytest.MonkeyPatch) -> None:
    deliveries.send_event(KEY, deliveries.put(KEY, "1"))
    deliveries.from_queue()
    deliveries.send_event(KEY, deliveries.put(KEY, "1", "2"))

    def breaking_off(_: Any) -> Iterator[tuple[int, bytes]]:
        yield 0, b"1"
        raise ConnectionError

    with monkeypatch.context() as broken:
        broken.setattr(consumer, "numbered", breaking_off)
        with pytest.raises(ConnectionError):
            deliveries.from_queue()
        assert deliveries.records() == [(KEY, 0, "1")]

    assert deliveries.from_queue() == [True]
    assert deliveries.records() == [(KEY, 0, "1"), (KEY, 2, "2")]


def test_the_event_of_a_deleted_object_stays_in_the_queue(deliveries: Deliveries) -> None:
    deliveries.send_event(KEY, deliveries.put(KEY, "1"))
    deliveries.s3.delete_object(Bucket=BUCKET, Key=KEY)

    with pytest.raises(ClientError, match="NoSuchKey"):
        deliveries.from_queue()
    assert deliveries.pending() == 1


def test_a_slow_consumer_does_not_restore_an_older_version(deliveries: Deliveries) -> None:
    older = deliveries.put(KEY, "old")
    reading, go_on = Event(), Event()

    class Slow:
        """A client of S3 whose answers are late."""

        def get_object(self, **parameters: Any) -> Any:
            answer = deliveries.s3.get_object(**parameters)
            reading.set()
            assert go_on.wait(20)
            return answer

    def slowly() -> bool:
        file = sqlite3.connect(deliveries.path, isolation_level=None, timeout=60)
        try:
            return consumer.take(file, Slow(), BUCKET, KEY, older)
        finally:
            file.close()

    with ThreadPoolExecutor() as others:
        slower = others.submit(slowly)
        assert reading.wait(20)
        newer = deliveries.put(KEY, "new")
        others.submit(go_on.set)
        consumer.take(deliveries.file, deliveries.s3, BUCKET, KEY, newer)
        assert slower.result()

    assert deliveries.records() == [(KEY, 0, "new")]
