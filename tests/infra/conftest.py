"""Each variant of the stack, synthesised once."""

import pytest

from tests.support.template import VARIANTS, Deployment


@pytest.fixture(scope="session")
def deployments(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Deployment]:
    """Synthesise what `-c env=prod`, nothing, `-c local=true`, `-c buffered=true` and `-c raw_bucket=…` give."""
    folder = tmp_path_factory.mktemp("synth")
    return {name: Deployment.synthesise(context, folder / name) for name, context in VARIANTS.items()}


@pytest.fixture(params=VARIANTS)
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


@pytest.fixture
def existing(deployments: dict[str, Deployment]) -> Deployment:
    """Give `-c raw_bucket=…`: env=dev, on AWS, on some folders of a raw bucket with a key of its own."""
    return deployments["existing"]
