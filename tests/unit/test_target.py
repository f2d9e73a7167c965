"""Which AWS a command talks to, and how it names it."""

from pathlib import Path

import pytest

from custody.deployment import target
from custody.deployment.target import Target, choose
from custody.errors import USAGE, CommandFailed


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let embedded AWS be down, and no region be configured."""
    monkeypatch.setattr(target, "FOLDER", tmp_path)
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")


@pytest.mark.usefixtures("nowhere")
def test_no_command_reaches_an_account_unless_asked_to() -> None:
    with pytest.raises(CommandFailed, match="--aws or --profile NAME") as refused:
        choose(aws=False, profile=None)
    assert refused.value.code == USAGE


@pytest.mark.usefixtures("nowhere")
def test_aws_needs_a_region(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CommandFailed, match="Set AWS_REGION, or use a profile") as refused:
        choose(aws=True, profile=None)
    assert refused.value.code == USAGE

    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert choose(aws=True, profile=None).name == "AWS, profile default, region eu-west-1"


def test_an_endpoint_that_replaces_aws_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    assert choose(aws=True, profile=None).name.endswith("region eu-west-1, at http://127.0.0.1:4566")


def test_an_endpoint_of_a_profile_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("[default]\nregion = eu-west-1\nendpoint_url = http://127.0.0.1:4566\n", encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert choose(aws=True, profile=None).name == "AWS, profile default, region eu-west-1, at http://127.0.0.1:4566"


@pytest.mark.parametrize(("is_local", "mode"), [(True, "standard"), (False, "adaptive")])
def test_step_functions_on_aws_is_called_at_an_adaptive_rate(
    monkeypatch: pytest.MonkeyPatch, is_local: bool, mode: str
) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    chosen = Target("", choose(aws=True, profile=None).session, "http://127.0.0.1:1" if is_local else None)

    assert chosen.client("stepfunctions").meta.config.retries["mode"] == mode
