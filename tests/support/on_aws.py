"""`make test-aws`: deploy to an account, run the tests marked `aws` there, and take it all away again.

It does nothing unless credentials are named, and the account that they are for: AWS_PROFILE=NAME ACCOUNT=NUMBER.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from custody.deployment.target import ROOT
from custody.terminal.signals import INTERRUPTED, end_on_sigterm
from tests.support import account
from tests.support.breaking import until
from tests.support.documents import read, sections

USUAL_ENV = "citest"
KEPT_ENV = "prod"
CHUNK_BYTES = 2**20
FIXED = {
    "env": "TEST_ENV=NAME says it",
    "chunk_bytes": "the tests cut by what it is here",
    "local": "it is for embedded AWS alone",
    "audit_lock": "a locked bucket cannot be taken away again",
    "raw_bucket": "the tests put objects, and Custody does not take away what is not its own",
    "raw_prefix": "it goes with raw_bucket",
    "raw_key_arn": "it goes with raw_bucket",
}
"""Settings that are not for whoever calls, each with the reason."""

COSTS = "A run of make test-aws"
"""The section of docs/costs.md that says what a run costs."""

CREDENTIALS = ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE")
"""What names credentials; none is looked for elsewhere, so that no account is used by chance."""

TAKE_AWAY_SECONDS = 1_800
"""How long it is tried; CloudFormation alone takes some minutes."""

_BIN = ROOT / ".venv/bin"


class Refused(Exception):
    """Nothing was deployed; the message says what to do."""


@dataclass(frozen=True)
class Run:
    """One run: `settings` are further ones for `cdk deploy -c`, such as `start_concurrency=5`; none of `FIXED`.

    `is_aws` unless the configuration names an endpoint of something that stands for AWS.
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
    def by_hand(self) -> str:
        """The command that takes it away."""
        return f"custody destroy --aws --env {self.env}"

    def call(self, *command: str | Path) -> int:
        """Run a command with the credentials that were given, for all to see."""
        return subprocess.run(command, cwd=ROOT, env=dict(self.environment), check=False).returncode  # noqa: S603 - ours

    def destroy(self) -> Any:
        """Take the stack away; give what `custody destroy` tells; None if it refuses, as while something runs."""
        command = [str(_BIN / "custody"), *self.by_hand.split()[1:], "--json", "--yes"]
        done = subprocess.run(command, env=dict(self.environment), stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - ours
        return json.loads(done.stdout) if done.stdout else None


def prepare(environment: Mapping[str, str]) -> Run:
    """Find out what the run is for; raise Refused unless the account is named, and right, and ready."""
    if not any(environment.get(name) for name in CREDENTIALS):
        raise Refused("No credentials are named. Say which to use: make test-aws AWS_PROFILE=NAME ACCOUNT=NUMBER")
    env = environment.get("TEST_ENV") or USUAL_ENV
    if env == KEPT_ENV:
        raise Refused(f"The data of {KEPT_ENV} is kept when its stack goes. Name another environment: TEST_ENV=NAME.")
    settings = _allowed(environment.get("SETTINGS", "").split())
    try:
        session = boto3.Session(region_name=environment.get("AWS_REGION") or None)
        if session.region_name is None:
            raise Refused("There is no region to deploy to. Set AWS_REGION, or one for the profile.")
        number = session.client("sts").get_caller_identity()["Account"]
        stacks = session.client("cloudformation")
        host = urlsplit(stacks.meta.endpoint_url).hostname or ""
        is_aws = host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
        run = Run(number, session.region_name, env, settings, is_aws, environment)
        print(introduction(run), flush=True)  # noqa: T201 - said to whoever called make
        if environment.get("ACCOUNT") != number:
            raise Refused(f"To go on, say that it is this account: ACCOUNT={number}")
        if not _has(stacks, "CDKToolkit"):
            raise Refused(
                f"The account is not bootstrapped: node_modules/.bin/cdk bootstrap aws://{number}/{run.region}"
            )
        if _has(stacks, run.stack):
            raise Refused(
                f"The stack {run.stack} is there already. If an earlier run left it, "
                f"custody destroy --aws --env {env}; if it is somebody's, name another: TEST_ENV=NAME."
            )
    except (BotoCoreError, ClientError) as error:
        raise Refused(f"AWS cannot be asked: {error}") from error
    return run


def _allowed(settings: list[str]) -> tuple[str, ...]:
    """Refuse what would make it another deployment than the one that is tested, and taken away again."""
    for setting in settings:
        name, _, value = setting.partition("=")
        if not (re.fullmatch("[a-z_]+", name) and value):
            raise Refused(f"SETTINGS has {setting!r}, which is no setting. Write it as name=value.")
        if name in FIXED:
            raise Refused(f"SETTINGS cannot have {name}: {FIXED[name]}. Leave it out.")
    return tuple(settings)


def introduction(run: Run) -> str:
    """Say what will be made, where, and what it costs."""
    costs = sections(read("docs/costs.md"))[COSTS].strip()
    return (
        f"make test-aws deploys the stack {run.stack} to account {run.account}, region {run.region},\n"
        f"runs the tests marked `aws` on it, and takes it away again, also when a test fails. Should it be killed,\n"
        f"or its credentials end, take it away by hand: {run.by_hand}\n\n{costs}\n"
    )


def _has(stacks: Any, name: str) -> bool:
    try:
        return bool(stacks.describe_stacks(StackName=name)["Stacks"])
    except ClientError as error:
        if "does not exist" not in str(error):
            raise
        return False


def carry_out(run: Run) -> int:
    """Deploy, test, and take away; give the exit code."""
    try:
        code = _deploy(run) or _test(run)
    finally:
        # Also after Ctrl-C and SIGTERM: what costs something goes.
        with _told_if_it_stays(run):
            left = _take_away(run)
    if left:
        print(f"Left of {run.stack}, and billed: {', '.join(left)}. See: {run.by_hand}", file=sys.stderr)  # noqa: T201
    return code or int(bool(left))


@contextmanager
def _told_if_it_stays(run: Run) -> Iterator[None]:
    """Name the command that takes it away where that did not come to its end."""
    try:
        yield
    except BaseException:
        print(f"{run.stack} was not taken away, and is billed. Take it away: {run.by_hand}", file=sys.stderr)  # noqa: T201
        raise


def _deploy(run: Run) -> int:
    # Of a setting that is given twice, the CDK takes the last one.
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


def _take_away(run: Run) -> list[str]:
    """Destroy what was deployed; name what is left of it and billed."""
    seconds = TAKE_AWAY_SECONDS
    try:
        _stop_executions(run)
    except (BotoCoreError, ClientError) as error:
        # Credentials that have ended do not come back: once must do.
        print(f"Executions of {run.stack} could not be stopped: {error}", file=sys.stderr)  # noqa: T201
        seconds = 0
    # An execution that was stopped may count as in flight for a moment still.
    told = until(run.destroy, seconds, f"{run.stack} is taken away")
    failed = [failure["name"] for failure in told["deletion"]["failures"]]
    return failed + [one["name"] for one in told["left"] if one["billed"]]


def _stop_executions(run: Run) -> None:
    """Stop what a test that failed has left in flight: `custody destroy` takes nothing away while something is."""
    client = boto3.Session(region_name=run.region).client("stepfunctions")
    for page in client.get_paginator("list_state_machines").paginate():
        for machine in page["stateMachines"]:
            if machine["name"].startswith(f"{run.stack}-"):
                running = client.list_executions(stateMachineArn=machine["stateMachineArn"], statusFilter="RUNNING")
                for execution in running["executions"]:
                    client.stop_execution(executionArn=execution["executionArn"])


def main() -> int:
    """Run, or say why not."""
    end_on_sigterm()
    try:
        return carry_out(prepare(os.environ))
    except Refused as refused:
        print(f"make test-aws: {refused}", file=sys.stderr)  # noqa: T201 - said to whoever called make
        return 2
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
