"""An embedded AWS for each test module, in a folder of its own."""

from collections.abc import Iterator

import pytest

import local
from tests.support.embedded_aws import EmbeddedAws


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedAws]:
    """Provide an embedded AWS with short waits."""
    folder = tmp_path_factory.mktemp("aws")
    settings = local.ServerSettings(workers=3, wait_scale=0.1, async_retry_seconds=0.05)
    up = EmbeddedAws(local.start(folder, settings=settings))
    yield up
    up.close()
    local.stop(folder)
