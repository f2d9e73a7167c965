"""The installed command: exit codes, signals, broken streams, and that it reaches AWS only on request."""

import os
import signal
import subprocess
from pathlib import Path
from subprocess import PIPE

import pytest

from custody.deployment.target import ROOT
from tests.support.breaking import without
from tests.support.deployed import CUSTODY, GOOD, Cloud, command_environment, custody, json_file

DEADLINE_SECONDS = 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["put", "no-such-file.json"], "no-such-file.json"),
        (["put"], "Missing argument"),
        (["up", "-c", "env=other"], "--env"),
        (["up", "-c", "chunk_size=1"], "'chunk_size'"),
        (["put", str(ROOT / "README.md"), "--key", ""], "--key"),
        (["redrive"], "--open"),
        (["dead-letters", "show", "caf\udce9"], "not UTF-8"),
    ],
)
def test_a_wrong_call_is_one_message_and_exit_code_2(cloud: Cloud, arguments: list[str], message: str) -> None:
    ran = cloud.custody(*arguments)
    assert ran.code == 2
    assert message in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("arguments", [["put", str(ROOT / "README.md")], ["status"], ["redrive", "--open"]])
def test_without_embedded_aws_nothing_is_sent_to_aws_unless_requested(tmp_path: Path, arguments: list[str]) -> None:
    ran = custody(tmp_path, *arguments)
    assert ran.code == 2
    assert "--aws or --profile NAME" in ran.err


def test_a_missing_environment_is_reported_with_the_command_that_deploys_it(cloud: Cloud) -> None:
    ran = cloud.custody("status", "--env", "nope")
    assert ran.code == 1
    assert "custody up --env nope" in ran.err


def test_a_second_up_deploys_nothing(cloud: Cloud) -> None:
    ran = cloud.custody("up")
    assert ran.code == 0
    assert "cdk deploy" not in ran.err


def test_control_characters_of_a_key_are_made_visible(cloud: Cloud, tmp_path: Path) -> None:
    ran = cloud.custody("put", json_file(tmp_path / "key.json", GOOD), "--key", "a\x7f[31m.json")
    assert ran.code == 0, ran.err
    assert "a␡[31m.json" in ran.out


@pytest.mark.parametrize("command", ["status", "dead-letters --since 1h --json"])
def test_output_that_cannot_be_written_is_one_message_and_exit_code_1(cloud: Cloud, command: str) -> None:
    def run_into(descriptor: int) -> "subprocess.CompletedProcess[str]":
        with os.fdopen(descriptor, "w") as output:
            return subprocess.run(  # noqa: S603 - our own command
                [CUSTODY, *command.split()],
                env=command_environment(cloud.folder),
                stdout=output,
                stderr=PIPE,
                text=True,
                check=False,
            )

    full = run_into(os.open("/dev/full", os.O_WRONLY))
    read, write = os.pipe()
    os.close(read)
    closed = run_into(write)

    assert "No space left on device" in full.stderr
    for ran in (full, closed):
        assert ran.returncode == 1
        assert "Traceback" not in ran.stderr
        assert "Exception" not in ran.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_command_exits_without_a_traceback(
    cloud: Cloud, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    path = json_file(tmp_path / "interrupted.json", GOOD)
    with (
        without(cloud, "start", "states:StartExecution"),
        subprocess.Popen(  # noqa: S603 - our own command
            [CUSTODY, "put", path], env=command_environment(cloud.folder), stdout=PIPE, stderr=PIPE, text=True
        ) as running,
    ):
        assert running.stderr is not None
        assert running.stderr.readline().startswith("target:"), "it has started"
        running.send_signal(number)
        out, err = running.communicate(timeout=DEADLINE_SECONDS)
    assert running.returncode == code, out + err
    assert "Traceback" not in err
