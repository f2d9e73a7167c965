"""One embedded AWS for all tests that change none of its settings."""

from collections.abc import Iterator

import pytest

import local
from tests.support.embedded_aws import EmbeddedAws


@pytest.fixture(scope="session")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAws]:
    """Provide an embedded AWS with short waits, and the buckets in which functions leave markers of their calls."""
    folder = tmp_path_factory.mktemp("aws")
    settings = local.ServerSettings(workers=3, wait_scale=0.1, async_retry_seconds=0.05)
    up = EmbeddedAws(local.start(folder, settings=settings))
    for bucket in ("markers", "calls"):
        up.s3.create_bucket(Bucket=bucket)
    yield up
    up.close()
    local.stop(folder)
