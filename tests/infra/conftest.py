"""Each variant of the stack, synthesised once."""

import pytest

from tests.infra.deployment import Deployment

CONTEXTS = {"prod": {"env": "prod"}, "dev": {}, "local": {"local": "true"}, "buffered": {"buffered": "true"}}


@pytest.fixture(scope="session")
def deployments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Deployment]:
    """Synthesise what `-c env=prod`, nothing, `-c local=true` and `-c buffered=true` give."""
    folder = tmp_path_factory.mktemp("synth")
    return {name: Deployment.synthesise(context, folder / name) for name, context in CONTEXTS.items()}


@pytest.fixture(params=CONTEXTS)
def deployment(request: pytest.FixtureRequest, deployments: dict[str, Deployment]) -> Deployment:
    """Give each variant in turn."""
    return deployments[request.param]


@pytest.fixture
def prod(deployments: dict[str, Deployment]) -> Deployment:
    """Give `-c env=prod`."""
    return deployments["prod"]


@pytest.fixture
def dev(deployments: dict[str, Deployment]) -> Deployment:
    """Give the default: env=dev, on AWS."""
    return deployments["dev"]


@pytest.fixture
def local(deployments: dict[str, Deployment]) -> Deployment:
    """Give `-c local=true`: env=dev, on embedded AWS."""
    return deployments["local"]


@pytest.fixture
def buffered(deployments: dict[str, Deployment]) -> Deployment:
    """Give `-c buffered=true`: env=dev, on AWS, with a buffer before the start function."""
    return deployments["buffered"]
