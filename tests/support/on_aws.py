"""`make test-aws`: deploy to an account, run the tests marked `aws`, and delete the stack.

It does nothing without explicit credentials and the number of their account: AWS_PROFILE=NAME ACCOUNT=NUMBER.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from custody.deployment.target import ROOT, Target, configured_endpoint, describe_stack
from custody.terminal import console
from custody.terminal.signals import INTERRUPTED, end_on_sigterm
from tests.support import account
from tests.support.breaking import until
from tests.support.documents import read, sections

DEFAULT_ENV = "citest"
RETAINED_ENV = "prod"
CHUNK_BYTES = 2**20
FIXED = {
    "env": "set TEST_ENV=NAME instead",
    "chunk_bytes": "the tests depend on its value",
    "local": "it is for embedded AWS only",
    "audit_lock": "a locked bucket cannot be deleted",
    "raw_bucket": "the tests upload objects, and Custody does not empty a bucket that is not its own",
    "raw_prefix": "it is used with raw_bucket",
    "raw_key_arn": "it is used with raw_bucket",
}
"""Settings that cannot be passed, each with the reason."""

COSTS = "A run of make test-aws"
"""The section of docs/costs.md on the cost of a run."""

CREDENTIALS = ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE")
"""Variables that name credentials; others are not used, so that no account is reached by accident."""

DELETE_SECONDS = 1_800
"""How long deletion is retried; CloudFormation alone takes some minutes."""

_BIN = ROOT / ".venv/bin"


class Refused(Exception):
    """Nothing was deployed; the message says what to do."""


@dataclass(frozen=True)
class Run:
    """One run: `settings` are passed to `cdk deploy -c`, such as `start_concurrency=5`; none of them is in `FIXED`.

    `is_aws` is false if the configuration has the endpoint of an emulator.
    """

    account: str
    region: str
    env: str
    settings: tuple[str, ...]
    is_aws: bool
    environment: Mapping[str, str]

    @property
    def stack(self) -> str:
        """The name of the stack."""
        return f"custody-{self.env}"

    @property
    def deletion_command(self) -> str:
        """The command that deletes the stack."""
        return f"custody destroy --aws --env {self.env}"

    def call(self, *command: str | Path) -> int:
        """Run a command with the credentials of the caller, and show its output."""
        return subprocess.run(command, cwd=ROOT, env=dict(self.environment), check=False).returncode  # noqa: S603 - ours

    def destroy(self) -> Any:
        """Delete the stack; return the report of `custody destroy`, None if it refused, as while something runs."""
        command = [str(_BIN / "custody"), *self.deletion_command.split()[1:], "--json", "--yes"]
        done = subprocess.run(command, env=dict(self.environment), stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - ours
        return json.loads(done.stdout) if done.stdout else None


def prepare(environment: Mapping[str, str]) -> Run:
    """Describe the run; raise Refused unless the account is named, is the right one, and is ready."""
    if not any(environment.get(name) for name in CREDENTIALS):
        raise Refused("No credentials are named. Name them: make test-aws AWS_PROFILE=NAME ACCOUNT=NUMBER")
    env = environment.get("TEST_ENV") or DEFAULT_ENV
    if env == RETAINED_ENV:
        raise Refused(
            f"The data of {RETAINED_ENV} is retained when its stack is deleted. Name another one: TEST_ENV=NAME."
        )
    settings = _allowed(environment.get("SETTINGS", "").split())
    try:
        session = boto3.Session(region_name=environment.get("AWS_REGION") or None)
        if session.region_name is None:
            raise Refused("There is no region to deploy to. Set AWS_REGION, or the region of the profile.")
        target = Target("the account", session, None)
        number = target.client("sts").get_caller_identity()["Account"]
        is_aws = configured_endpoint(None) is None
        run = Run(number, session.region_name, env, settings, is_aws, environment)
        costs = sections(read("docs/costs.md"))[COSTS].strip()
        console.console.print(
            f"make test-aws deploys the stack {run.stack} to account {number}, region {run.region},\n"
            f"runs the tests marked `aws` on it, and deletes it, also when a test fails. If it is killed, or its\n"
            f"credentials expire, delete the stack yourself: {run.deletion_command}\n\n{costs}\n",
            soft_wrap=True,
            markup=False,
        )
        if environment.get("ACCOUNT") != number:
            raise Refused(f"To continue, confirm the account: ACCOUNT={number}")
        if not describe_stack(target, "CDKToolkit"):
            raise Refused(
                f"The account is not bootstrapped: node_modules/.bin/cdk bootstrap aws://{number}/{run.region}"
            )
        if describe_stack(target, run.stack):
            raise Refused(
                f"The stack {run.stack} already exists. If an earlier run left it, delete it: {run.deletion_command}; "
                "otherwise name another environment: TEST_ENV=NAME."
            )
    except (BotoCoreError, ClientError) as error:
        raise Refused(f"AWS cannot be reached: {error}") from error
    return run


def _allowed(settings: list[str]) -> tuple[str, ...]:
    """Refuse settings that the tests or the deletion of the stack do not support."""
    for setting in settings:
        name, _, value = setting.partition("=")
        if not (re.fullmatch("[a-z_]+", name) and value):
            raise Refused(f"SETTINGS has {setting!r}, which is not a setting. Write name=value.")
        if name in FIXED:
            raise Refused(f"SETTINGS cannot have {name}: {FIXED[name]}. Remove it.")
    return tuple(settings)


def carry_out(run: Run) -> int:
    """Deploy, test and delete; return the exit code."""
    try:
        code = _deploy(run) or _test(run)
    finally:
        # Also after Ctrl-C and SIGTERM: the stack is billed.
        try:
            left = _delete(run)
        except BaseException:
            console.warn(f"{run.stack} was not deleted and is billed. Delete it: {run.deletion_command}")
            raise
    if left:
        console.warn(f"Left of {run.stack} and billed: {', '.join(left)}. See: {run.deletion_command}")
    return code or int(bool(left))


def _deploy(run: Run) -> int:
    # The CDK takes the last value of a setting.
    ours = {"env": run.env, "chunk_bytes": CHUNK_BYTES} | ({} if run.is_aws else {"local": "true"})
    settings = (*run.settings, *(f"{name}={value}" for name, value in ours.items()))
    given = [part for setting in settings for part in ("-c", setting)]
    with tempfile.TemporaryDirectory(prefix="custody-") as folder:
        cdk = ROOT / "node_modules/.bin/cdk"
        return run.call(cdk, "deploy", *given, "--require-approval", "never", "--output", Path(folder) / "cdk.out")


def _test(run: Run) -> int:
    command = [str(_BIN / "pytest"), "-p", "no:cacheprovider", "-m", "aws", "-o", "timeout=3600", "tests/e2e"]
    return subprocess.run(  # noqa: S603 - our own
        command, cwd=ROOT, env=account.variables(run.environment, run.env, is_aws=run.is_aws), check=False
    ).returncode


def _delete(run: Run) -> list[str]:
    """Delete the stack; return the names of what is left and billed."""
    seconds = DELETE_SECONDS
    try:
        _stop_executions(run)
    except (BotoCoreError, ClientError) as error:
        # Expired credentials do not become valid: try once.
        console.warn(f"Executions of {run.stack} could not be stopped: {error}")
        seconds = 0
    # A stopped execution may be listed as running for a moment.
    report = until(run.destroy, seconds, f"the deletion of {run.stack}")
    # Without a command to remove it, a resource is pending deletion, or was deleted; or it could not be listed.
    left = [each for each in report["left"] if each["command"] or each["contents"].startswith("unknown")]
    return [*report["failures"], *(resource["name"] or resource["contents"] for resource in left)]


def _stop_executions(run: Run) -> None:
    """Stop what a failed test left running: `custody destroy` refuses to delete while something runs."""
    client = boto3.Session(region_name=run.region).client("stepfunctions")
    for page in client.get_paginator("list_state_machines").paginate():
        for machine in page["stateMachines"]:
            if machine["name"].startswith(f"{run.stack}-"):
                running = client.list_executions(stateMachineArn=machine["stateMachineArn"], statusFilter="RUNNING")
                for execution in running["executions"]:
                    client.stop_execution(executionArn=execution["executionArn"])


def main() -> int:
    """Run, or print why not."""
    end_on_sigterm()
    try:
        return carry_out(prepare(os.environ))
    except Refused as refused:
        console.warn(f"make test-aws: {refused}")
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
