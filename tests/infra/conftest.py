"""Each variant of the stack, synthesised once."""

import pytest

from tests.support.template import EXISTING, VARIANTS, Deployment

INTO_BUFFER = {"raw_bucket": EXISTING["raw_bucket"], "buffered": "true"}


@pytest.fixture(scope="session")
def deployments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Deployment]:
    """Synthesise each variant, and one with a buffer on the whole of an existing bucket without a key of its own."""
    folder = tmp_path_factory.mktemp("synth")
    contexts = {**VARIANTS, "into_buffer": INTO_BUFFER}
    return {name: Deployment.synthesise(context, folder / name) for name, context in contexts.items()}


@pytest.fixture(params=[*VARIANTS, "into_buffer"])
def deployment(request: pytest.FixtureRequest, deployments: dict[str, Deployment]) -> Deployment:
    """Return each variant in turn."""
    return deployments[request.param]


@pytest.fixture
def prod(deployments: dict[str, Deployment]) -> Deployment:
    return deployments["prod"]


@pytest.fixture
def dev(deployments: dict[str, Deployment]) -> Deployment:
    return deployments["dev"]


@pytest.fixture
def local(deployments: dict[str, Deployment]) -> Deployment:
    return deployments["local"]


@pytest.fixture
def buffered(deployments: dict[str, Deployment]) -> Deployment:
    return deployments["buffered"]


@pytest.fixture
def existing(deployments: dict[str, Deployment]) -> Deployment:
    return deployments["existing"]


@pytest.fixture
def into_buffer(deployments: dict[str, Deployment]) -> Deployment:
    return deployments["into_buffer"]
