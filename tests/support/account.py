"""The deployment in an AWS account on which `make test-aws` has the end-to-end tests run, told by the environment.

The tests overwrite the variables of AWS, so that none of them can reach an account by mistake. The ones that were given
come beside them, under another name.
"""

import os
from collections.abc import Mapping

ENV = "CUSTODY_TEST_ENV"
"""Which environment is deployed; where this is not set, the tests bring up embedded AWS."""

_REAL = "CUSTODY_TEST_IS_AWS"
"""Set where it is AWS itself that answers, and nothing that stands for it."""

_GIVEN = "CUSTODY_TEST_GIVEN_"
_OF_AWS = "AWS_"


def named() -> str | None:
    """Give the environment that is deployed on AWS; None if the tests are to bring up embedded AWS."""
    return os.environ.get(ENV)


def is_aws_itself() -> bool:
    """Whether the tests run on AWS, and on nothing that stands for it."""
    return _REAL in os.environ


def told(environment: Mapping[str, str], env: str, *, is_aws: bool) -> dict[str, str]:
    """Give an environment in which the tests find the deployment `env`, with the credentials of `environment`."""
    given = {f"{_GIVEN}{name}": value for name, value in environment.items() if name.startswith(_OF_AWS)}
    others = {name: value for name, value in environment.items() if not name.startswith(_OF_AWS)}
    return others | given | {ENV: env} | ({_REAL: "true"} if is_aws else {})


def given() -> dict[str, str]:
    """Give the variables of AWS as they were when `make test-aws` was called."""
    return {name.removeprefix(_GIVEN): value for name, value in os.environ.items() if name.startswith(_GIVEN)}
