"""How many calls to S3 and Step Functions a command makes: no fact is fetched twice."""

from typing import Any

import pytest
from botocore.client import BaseClient

from tests.support.audit_files import delivered_in_part
from tests.support.bulk import Bulk
from tests.support.command_line import CommandLine
from tests.support.executions import Machine


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("trace {bulk}", {"DescribeExecution": 2, "GetObject": 3, "ListObjectsV2": 3, "get_execution_history": 1}),
        ("trace {bulk}.61", {"DescribeExecution": 1, "GetObject": 4, "ListObjectsV2": 3}),
        ("trace {bulk}.244", {"DescribeExecution": 1, "GetObject": 5, "ListObjectsV2": 3}),
        ("trace {batch}", {"DescribeExecution": 4, "GetObject": 2, "ListObjectsV2": 3}),
        ("trace {batch}.1", {"DescribeExecution": 4, "GetObject": 3, "ListObjectsV2": 3}),
        ("reconcile", {"DescribeExecution": 4, "GetObject": 3, "ListObjectVersions": 1, "ListObjectsV2": 5}),
        ("dead-letters", {"GetObject": 7, "ListObjectsV2": 4}),
        ("dead-letters show {bulk}", {"DescribeExecution": 2, "GetObject": 3, "ListObjectsV2": 6}),
        ("dead-letters show {batch}", {"DescribeExecution": 2, "GetObject": 3, "ListObjectsV2": 4}),
        ("verify {bulk}", {"GetObject": 17, "ListObjectVersions": 1}),
        ("verify {batch}", {"GetObject": 3, "ListObjectVersions": 1}),
    ],
)
def test_a_command_makes_no_more_calls(  # noqa: PLR0913, PLR0917 - a table
    command: str,
    expected: dict[str, int],
    bulk: Bulk,
    machine: Machine,
    command_line: CommandLine,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On an object of seven chunks, with one rejected record and one failed chunk, and one that is a single batch."""
    batch = delivered_in_part(bulk.buckets).object_id
    call = BaseClient._make_api_call  # type: ignore[attr-defined]  # noqa: SLF001 - every request passes through it

    def counting(client: BaseClient, operation: str, parameters: dict[str, Any]) -> Any:
        machine.calls[operation] += 1
        return call(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", counting)
    command_line.run(*command.format(bulk=bulk.id, batch=batch).split())

    assert machine.calls == expected
