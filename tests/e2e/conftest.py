"""Deployed stacks: on embedded AWS, or the one that `make test-aws` deployed to an account."""

from collections.abc import Iterator

import pytest

from tests.support import account
from tests.support.deployed import Cloud, embedded, in_account


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests marked `aws(only=True)` unless this is AWS itself."""
    deselected = [] if account.is_real_aws() else [item for item in items if _is_only_for_aws(item)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]


def _is_only_for_aws(item: pytest.Item) -> bool:
    return any(mark.kwargs.get("only") for mark in item.iter_markers("aws"))


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Provide Custody with its default settings; under `make test-aws`, the environment in the account."""
    folder, env = tmp_path_factory.mktemp("custody"), account.environment_name()
    with embedded(folder) if env is None else in_account(folder, env) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def buffered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Provide a deployment with a queue before the start function, and chunks of 1 MiB."""
    folder = tmp_path_factory.mktemp("buffered")
    with embedded(folder, buffered="true", start_timeout_seconds=1, chunk_bytes=2**20) as cloud:
        yield cloud


@pytest.fixture(scope="session")
def chunked(request: pytest.FixtureRequest) -> Cloud:
    """Provide a deployment with chunks of 1 MiB: what `make test-aws` deployed, or else `buffered`."""
    cloud: Cloud = request.getfixturevalue("buffered" if account.environment_name() is None else "cloud")
    return cloud
