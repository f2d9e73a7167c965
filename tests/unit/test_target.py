"""Which AWS a command says that it talks to."""

from pathlib import Path

import pytest

from custody.deployment.target import choose


def test_an_account_is_named_by_profile_and_region(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert choose(aws=True, profile=None).name == "AWS, profile default, region eu-west-1"


def test_an_endpoint_that_stands_for_aws_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    assert choose(aws=True, profile=None).name.endswith("region eu-west-1, at http://127.0.0.1:4566")


def test_an_endpoint_of_a_profile_is_told_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text("[default]\nregion = eu-west-1\nendpoint_url = http://127.0.0.1:4566\n", encoding="utf-8")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(file))
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    assert choose(aws=True, profile=None).name == "AWS, profile default, region eu-west-1, at http://127.0.0.1:4566"
