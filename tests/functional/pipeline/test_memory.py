"""Memory: what a step holds does not grow with its chunk, for it streams what it reads and what it writes."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat
from pathlib import Path
from typing import IO, Any

import pytest

from benchmarks.records import nested
from functions.shared import aws
from functions.shared.aws import Streamed
from functions.shared.model.ids import RawObject
from functions.shared.model.messages import Batch, Chunk
from functions.shared.records import gzip_lines
from tests.support.buckets import called_with
from tests.support.stages import BAD, GOOD, STEPS

LINES = (GOOD + b"\n") * 99 + BAD + b"\n"
MB = 2**20
PIECE = 2**17


@pytest.fixture
def buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the steps read from files and write to files, so that what S3 holds is not counted with what they hold."""

    def place(bucket: str, key: str) -> Path:
        return tmp_path / f"{bucket}-{key.replace('/', '-')}"

    @contextmanager
    def streamed(bucket: str, key: str, *_: Any) -> Iterator[Streamed]:
        with place(bucket, key).open("rb") as file:
            yield Streamed(iter(lambda: file.read(PIECE), b""), "2026-11-23T09:00:00Z")

    def put(bucket: str, key: str, body: bytes | IO[bytes], _: str) -> str:
        with place(bucket, key).open("wb") as file:
            if isinstance(body, bytes):
                file.write(body)
            else:
                body.seek(0)
                file.writelines(iter(lambda: body.read(PIECE), b""))
        return "v1"

    monkeypatch.setattr(aws, "streamed", streamed)
    monkeypatch.setattr(aws, "write", put)
    monkeypatch.setattr(aws, "write_once", lambda *args: bool(put(*args)))
    monkeypatch.setattr(gzip_lines, "HELD_BYTES", 2**16)
    return tmp_path


def peaks(buckets: Path, lines: bytes, number: int) -> dict[str, float]:
    """Send lines, repeated, through the steps; return the most memory that each held, in MB."""
    size = len(lines) * number
    with (buckets / "raw-mission-a.jsonl").open("wb") as file:
        file.writelines(repeat(lines, number))
    batch = Batch(RawObject("raw", "mission/a.jsonl", "v1", size, "etag"), Chunk(0, size))
    message: Any = batch.encode()
    held = {}
    for name, step in STEPS.items():
        tracemalloc.start()
        message = step(called_with(message, f"{name}Chunk"), None)
        held[name] = tracemalloc.get_traced_memory()[1] / MB
        tracemalloc.stop()
    assert message["counts"]["received"] == lines.count(b"\n") * number
    return held


def test_memory_does_not_grow_with_the_chunk(buckets: Path) -> None:
    few, many = peaks(buckets, LINES, 150), peaks(buckets, LINES, 450)
    for step, held in many.items():
        assert held < 2 * few[step], f"{step} held {few[step]:.1f} MB of 15,000 records, {held:.1f} MB of thrice that"
        assert held < 3, f"{step} held {held:.1f} MB, of which a part are pieces of what it reads and writes"


def test_a_step_holds_one_large_document_at_a_time(buckets: Path) -> None:
    for step, held in peaks(buckets, nested(MB + MB // 8) + b"\n", 3).items():
        assert held < 55, f"{step} held {held:.1f} MB: a document takes up to 40 times its bytes"
