"""docs/deploy.md and docs/ci: what they say of settings, and the commands that only AWS or GitHub can carry out."""

import re
import shlex
import subprocess
from dataclasses import fields
from functools import cache
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types
from awscli.clidriver import create_clidriver  # type: ignore[import-untyped]  # it has no types
from cfnlint import api as cfnlint  # type: ignore[import-untyped]  # it has no types

from infra.app import ROOT
from infra.settings import Settings
from tests.e2e.documents import blocks, read, sections

DOCUMENT = read("docs/deploy.md")
SECTIONS = sections(DOCUMENT)
ONLY_AWS = {
    "Credentials": 0,
    "Bootstrap": 0,
    "From GitHub Actions": 0,
    "Remove the bootstrap": 0,
    "Prove it in your account": 0,
}
"""Sections with blocks that embedded AWS cannot run, or that would break what other tests need; from which block on."""

MAKEFILE = read("Makefile")
WORKFLOW: dict[Any, Any] = yaml.safe_load(read("docs/ci/github-actions.yml"))
JOBS: dict[str, Any] = WORKFLOW["jobs"]
STEPS = [(name, step) for name, job in JOBS.items() for step in job["steps"]]


def test_each_setting_is_listed_with_its_default() -> None:
    listed = {
        name: default
        for row in re.findall(r"^\| (`.+?) \| ([^|]+) \|", SECTIONS["Settings"], re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row[0])
        for default in [row[1].strip().strip("`")]
    }
    expected = {setting.name: as_said(setting.default) for setting in fields(Settings)}

    assert listed == expected


def as_said(default: Any) -> str:
    """Say a default as the document does."""
    if isinstance(default, bool):
        return str(default).lower()
    return "none" if default in {None, ""} else f"{default:g}" if isinstance(default, float) else str(default)


def commands(text: str) -> list[list[str]]:
    """Give the commands of a shell block, each as its words; `$(…)` counts as one of its own."""
    joined = text.replace("\\\n", " ")
    inner = re.findall(r"\$\((.*?)\)$", joined, re.MULTILINE | re.DOTALL)
    lines = [*re.sub(r"\w+=\$\(.*?\)$", "", joined, flags=re.MULTILINE | re.DOTALL).splitlines(), *inner]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


UNRUN = [
    words for title, first in ONLY_AWS.items() for block in blocks(SECTIONS[title])[first:] for words in commands(block)
]


@pytest.mark.parametrize("words", [words for words in UNRUN if words[0] == "aws"], ids=" ".join)
def test_a_command_of_the_aws_cli_has_these_options(words: list[str]) -> None:
    driver = create_clidriver()
    command = driver.create_help_command().command_table[words[1]]
    table = getattr(command, "subcommand_table", None) or command.create_help_command().command_table
    known = set(driver.create_help_command().arg_table)
    assert words[2] in table, words
    sub = table[words[2]]
    if words[1:3] == ["cloudformation", "wait"]:
        sub = sub.create_help_command().command_table[words[3]]
    known |= set(sub.arg_table)
    negated = {f"no-{name}" for name in known}
    given = {word.removeprefix("--") for word in words if word.startswith("--")}
    assert given <= known | negated, given - known


@cache
def help_of(command: str) -> str:
    cdk = [str(ROOT / "node_modules/.bin/cdk"), command, "--help"]
    return subprocess.run(cdk, capture_output=True, text=True, check=True, cwd=ROOT).stdout  # noqa: S603 - our own


def cdk_commands() -> list[list[str]]:
    of_workflow = [shlex.split(step["run"].rpartition("/")[2]) for _, step in STEPS if "cdk" in step.get("run", "")]
    return [words for words in [*UNRUN, *of_workflow] if words[0] == "cdk"]


@pytest.mark.parametrize("words", cdk_commands(), ids=" ".join)
def test_a_command_of_the_cdk_has_these_options(words: list[str]) -> None:
    for word in words[2:]:
        if word.startswith("-"):
            assert re.search(rf"(^|[\s,]){re.escape(word.partition('=')[0])}\b", help_of(words[1])), word


def test_no_command_stands_unchecked() -> None:
    others = [words for words in UNRUN if words[0] not in {"aws", "cdk", "export"} and "=" not in words[0]]

    assert {tuple(words[:2]) for words in others} == {("make", "test-aws")}
    assert "\ntest-aws: setup" in MAKEFILE
    for variable in ("AWS_PROFILE", "ACCOUNT", "TEST_ENV", "SETTINGS"):
        assert variable in SECTIONS["Prove it in your account"]
    for variable in ("ACCOUNT", "TEST_ENV", "SETTINGS"):
        assert f'{variable}="$({variable})"' in MAKEFILE


def test_the_template_for_github_has_no_fault() -> None:
    assert cfnlint.lint(read("docs/ci/github-oidc.yaml")) == []


def test_the_roles_of_github_may_assume_roles_of_the_cdk_and_nothing_else() -> None:
    template = read("docs/ci/github-oidc.yaml")

    actions = re.findall(r"Action: (\S+)", template)
    assert set(actions) == {"sts:AssumeRoleWithWebIdentity", "sts:AssumeRole"}
    assumed = re.findall(r"role/cdk-\$\{Qualifier\}-([a-z-]+)-\$\{AWS::AccountId\}-\$\{AWS::Region\}", template)
    assert assumed == ["deploy-role", "file-publishing-role", "lookup-role", "lookup-role"]
    assert len(assumed) == len(re.findall(r"!Sub arn:", template)), "no other resource"
    assert "StringLike" not in template
    assert "AssumeRolePolicyDocument" in template


def test_actions_are_pinned_by_commit_with_the_version_beside_it() -> None:
    text = read("docs/ci/github-actions.yml")

    used = re.findall(r"uses: (.*)", text)
    assert len(used) == sum("uses" in step for _, step in STEPS)
    for one in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one), one


def test_a_job_may_do_no_more_than_it_needs() -> None:
    assert WORKFLOW["permissions"] == {}
    assert JOBS["test"]["permissions"] == {"contents": "read"}
    for name in ("diff", "deploy-dev", "deploy-prod"):
        assert JOBS[name]["permissions"] == {"contents": "read", "id-token": "write"}
    assert "secrets." not in read("docs/ci/github-actions.yml"), "no key that lasts"
    for _, step in STEPS:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_pull_requests_are_tested_and_compared_and_main_is_deployed_in_turn() -> None:
    triggers = WORKFLOW[True]  # YAML 1.1 reads `on` so
    assert triggers == {"pull_request": None, "push": {"branches": ["main"]}}
    assert "pull_request" in JOBS["diff"]["if"]
    assert "head.repo.full_name == github.repository" in JOBS["diff"]["if"], "no fork"
    assert JOBS["deploy-dev"]["if"] == "github.event_name == 'push'"
    assert (JOBS["deploy-dev"]["needs"], JOBS["deploy-prod"]["needs"]) == ("test", "deploy-dev")
    assert (JOBS["deploy-dev"]["environment"], JOBS["deploy-prod"]["environment"]) == ("dev", "prod")
    roles = {name: step["with"]["role-to-assume"] for name, step in STEPS if "role-to-assume" in step.get("with", {})}
    assert roles["diff"] == "${{ vars.AWS_DIFFER }}"
    assert roles["deploy-dev"] == roles["deploy-prod"] == "${{ vars.AWS_DEPLOYER }}"


def test_its_commands_are_those_of_the_makefile_and_the_document() -> None:
    for _, step in STEPS:
        command = step.get("run")
        if command and command.startswith("make "):
            assert f"\n{command.removeprefix('make ')}: " in MAKEFILE, command
        elif command:
            given, _, called = command.partition(" ")
            assert given == 'PATH="$PWD/.venv/bin:$PATH"', "the CDK finds Node and Python there"
            kind = " ".join(shlex.split(called)[1:2])
            assert f"cdk {kind} -c env=" in DOCUMENT, command
    deployed = {name: step["run"] for name, step in STEPS if "cdk deploy" in step.get("run", "")}
    assert "-c env=dev " in deployed["deploy-dev"]
    assert "-c env=prod " in deployed["deploy-prod"]
