"""The deployment in an AWS account that `make test-aws` tests, passed to the tests in environment variables.

The tests overwrite the AWS variables, so that none of them reaches an account by mistake. The original ones are passed
under other names.
"""

import os
from collections.abc import Mapping

ENV = "CUSTODY_TEST_ENV"
"""The deployed environment; the tests start embedded AWS where this is not set."""

_IS_REAL = "CUSTODY_TEST_IS_AWS"
"""Set when AWS itself answers, and not an emulator behind a configured endpoint."""

_PASSED = "CUSTODY_TEST_GIVEN_"
_AWS = "AWS_"


def environment_name() -> str | None:
    """Return the environment that is deployed on AWS; None if the tests use embedded AWS."""
    return os.environ.get(ENV)


def is_real_aws() -> bool:
    """Return whether the tests run on AWS itself, not on an emulator."""
    return _IS_REAL in os.environ


def variables(environment: Mapping[str, str], env: str, *, is_aws: bool) -> dict[str, str]:
    """Return variables for a test run against the environment `env`, with the credentials of `environment` renamed."""
    passed = {f"{_PASSED}{name}": value for name, value in environment.items() if name.startswith(_AWS)}
    others = {name: value for name, value in environment.items() if not name.startswith(_AWS)}
    return others | passed | {ENV: env} | ({_IS_REAL: "true"} if is_aws else {})


def credentials() -> dict[str, str]:
    """Return the AWS variables as they were when `make test-aws` was called."""
    return {name.removeprefix(_PASSED): value for name, value in os.environ.items() if name.startswith(_PASSED)}
