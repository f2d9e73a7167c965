"""A bulk object is reconciled as a whole: by its summary, one list of its ledger files, and its execution."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from custody.assurance.reconcile import Reconciled, Reconciler, State
from custody.audit.reader import AuditReader
from custody.executions.pipeline import Pipeline
from custody.ingest.raw_versions import ArrivalFilter, arrivals
from functions.shared.model import chunking
from functions.shared.model.keys import WHOLE, LedgerKey
from functions.shared.model.messages import Batch
from tests.support.audit_files import reads_of
from tests.support.buckets import Buckets
from tests.support.bulk import CHUNK_BYTES, Bulk, lines
from tests.support.executions import BULK_ARN, MACHINE_ARN, Machine, arn_of, commit

SOON = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def machine(buckets: Buckets) -> Machine:  # noqa: ARG001 - the client of a machine stands on moto
    return Machine()


def reconciler_on(buckets: Buckets, machine: Machine, chunk_bytes: int = CHUNK_BYTES) -> Reconciler:
    client: Any = machine
    return Reconciler(AuditReader(buckets.s3, "audit"), Pipeline(client, MACHINE_ARN, BULK_ARN, chunk_bytes), SOON)


def reconciled(buckets: Buckets, machine: Machine) -> Reconciled:
    (found,) = reconciler_on(buckets, machine).run(arrivals(buckets.s3, "raw", ArrivalFilter()))
    return found


def written(bulk: Bulk, machine: Machine) -> None:
    machine.add(bulk.batch, "SUCCEEDED")
    bulk.run()


def failed(bulk: Bulk, machine: Machine) -> None:
    machine.add(bulk.batch, error="ChunksFailed")
    bulk.run(failing=(200, 400))


def rejected(bulk: Bulk, machine: Machine) -> None:
    machine.add(bulk.batch, error="RecordsRejected")
    assert bulk.run() == "RecordsRejected"


def discarded(bulk: Bulk, machine: Machine) -> None:
    failed(bulk, machine)
    for start in (200, 400):
        bulk.buckets.s3.put_object(Bucket="audit", Key=LedgerKey(bulk.id, start, 0, discards=True).key, Body=b"")


def running(bulk: Bulk, machine: Machine) -> None:
    machine.add(bulk.batch, "RUNNING")
    bulk.chunk(0)


def redriven_by_another(bulk: Bulk, machine: Machine) -> None:
    failed(bulk, machine)
    machine.add(bulk.again(200, 400).batch, "RUNNING")


def redriven_after_a_chunk_counted_on(bulk: Bulk, machine: Machine) -> None:
    """Attempt 1 of the object is running, and a redrive of its own has brought a chunk to its third."""
    failed(bulk, machine)
    machine.add(bulk.again(200).batch, "RUNNING")
    Bulk(bulk.buckets, replace(bulk.batch, attempt=3)).chunk(200)


def aborted(bulk: Bulk, machine: Machine) -> None:
    machine.add(bulk.batch, "ABORTED")
    bulk.chunk(0)
    bulk.end("ExecutionAborted", "ProcessChunks")


def never_started(bulk: Bulk, machine: Machine) -> None:
    del bulk, machine


def one_ledger_file_gone(bulk: Bulk, machine: Machine) -> None:
    written(bulk, machine)
    bulk.buckets.s3.delete_object(Bucket="audit", Key=LedgerKey(bulk.id, 400, 0).key)


def summary_gone(bulk: Bulk, machine: Machine) -> None:
    written(bulk, machine)
    bulk.buckets.s3.delete_object(Bucket="audit", Key=LedgerKey(bulk.id, WHOLE, 0).key)


def summary_damaged(bulk: Bulk, machine: Machine) -> None:
    written(bulk, machine)
    bulk.buckets.s3.put_object(Bucket="audit", Key=LedgerKey(bulk.id, WHOLE, 0).key, Body=b"damaged")


@pytest.mark.parametrize(
    ("story", "expected"),
    [
        (written, (State.WRITTEN, "", None)),
        (failed, (State.FAILED, "2 of its 7 chunks failed; dead letter open", True)),
        (discarded, (State.FAILED, "2 of its 7 chunks failed; dead letter resolved: discarded", False)),
        (running, (State.IN_FLIGHT, "attempt 0 is running", None)),
        (redriven_by_another, (State.IN_FLIGHT, "attempt 1 is running", True)),
        (redriven_after_a_chunk_counted_on, (State.IN_FLIGHT, "attempt 1 is running", True)),
        (aborted, (State.FAILED, "ABORTED; dead letter open", True)),
        (never_started, (State.MISSING, "no execution, no dead letter and no ledger file", None)),
        (one_ledger_file_gone, (State.MISSING, "the ledger files of 1 of its 7 chunks are gone", None)),
        (summary_gone, (State.MISSING, "its execution succeeded, but its ledger file is gone", None)),
        (summary_damaged, (State.MISSING, "its ledger file cannot be read", None)),
    ],
)
def test_a_bulk_object_is_in_one_state(
    buckets: Buckets, machine: Machine, story: Callable[[Bulk, Machine], None], expected: tuple[State, str, bool | None]
) -> None:
    state, why, is_open = expected
    story(Bulk.upload(buckets, lines(20)), machine)
    found = reconciled(buckets, machine)
    assert (found.state, found.dead_letter and found.dead_letter.open) == (state, is_open), found
    assert found.why.startswith(why)


def test_rejected_records_are_counted_over_all_chunks(buckets: Buckets, machine: Machine) -> None:
    bulk = Bulk.upload(buckets, lines(20, bad=(1, 4, 9)))
    rejected(bulk, machine)
    found = reconciled(buckets, machine)
    assert (found.state, found.why) == (State.REJECTED, "3 of its records rejected; dead letter open")
    assert found.dead_letter is not None
    assert found.dead_letter.id.endswith("/object.0.Summarize")


def test_an_object_that_was_never_started_is_started_in_chunks(
    buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chunking, "BULK_FROM", CHUNK_BYTES)
    bulk = Bulk.upload(buckets, lines(20))
    missing = reconciled(buckets, machine)
    started = reconciler_on(buckets, machine).start(missing)
    assert started.started == bulk.id
    assert list(machine.executions) == [arn_of(bulk.id, BULK_ARN)]


def test_only_chunks_whose_ledger_files_are_gone_are_repeated(buckets: Buckets, machine: Machine) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    one_ledger_file_gone(bulk, machine)
    reconciler = reconciler_on(buckets, machine, chunk_bytes=CHUNK_BYTES * 2)  # deployed with another size since
    (missing,) = reconciler.run(arrivals(buckets.s3, "raw", ArrivalFilter()))
    started = reconciler.start(missing)
    assert started.started == f"{bulk.id}-r1"
    message = machine.executions[arn_of(f"{bulk.id}-r1", BULK_ARN)]["input"]
    assert Batch.decode(json.loads(message)) == bulk.again(400).batch

    assert bulk.again(400).run() is None
    assert reconciled(buckets, machine).state is State.WRITTEN


def test_an_object_that_was_one_batch_stays_one_though_chunks_are_smaller_now(
    buckets: Buckets, machine: Machine
) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    machine.add(replace(bulk.batch, plan=None), "SUCCEEDED")
    commit(buckets, replace(bulk.batch, plan=None))
    assert reconciled(buckets, machine).state is State.WRITTEN


def test_the_first_chunk_is_not_mistaken_for_the_object_though_chunks_are_larger_now(
    buckets: Buckets, machine: Machine
) -> None:
    bulk = Bulk.upload(buckets, lines(20))
    machine.add(bulk.batch, "RUNNING")
    bulk.chunk(0)
    (found,) = reconciler_on(buckets, machine, chunk_bytes=10**6).run(arrivals(buckets.s3, "raw", ArrivalFilter()))
    assert found.state is State.IN_FLIGHT


def test_no_header_of_a_chunk_is_read(buckets: Buckets, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    bulk = Bulk.upload(buckets, lines(20, bad=(1, 4, 9)))
    rejected(bulk, machine)
    read = reads_of("header", monkeypatch)
    assert reconciled(buckets, machine).state is State.REJECTED
    assert {key.start for key in read} == {WHOLE}
