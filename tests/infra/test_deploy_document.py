"""docs/deploy.md and docs/ci: what they say of settings, and the commands that only AWS or GitHub can carry out."""

import re
import shlex
import subprocess
from functools import cache
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it has no types
from awscli.clidriver import create_clidriver  # type: ignore[import-untyped]  # it has no types
from cfnlint import api as cfnlint  # type: ignore[import-untyped]  # it has no types
from cfnlint.decode import cfn_yaml  # type: ignore[import-untyped]  # it has no types

from infra.app import ROOT
from tests.support.documents import blocks, read, sections
from tests.support.on_aws import DEFAULT_ENV, Run

DOCUMENT = read("docs/deploy.md")
SECTIONS = sections(DOCUMENT)
ONLY_AWS = {
    "Credentials": 0,
    "Bootstrap": 0,
    "Partitions": 0,
    "Lambda quota": 0,
    "From GitHub Actions": 0,
    "Remove the bootstrap": 0,
    "Test in your account": 0,
}
"""Sections with blocks that embedded AWS cannot run, or that would break other tests, and the first such block."""

VERSIONS = 'versions "$BUCKET"'
"""Stands in the blocks that tests/e2e/documents/test_bootstrap.py runs on a bucket made for it."""

MAKEFILE = read("Makefile")
WORKFLOW: dict[Any, Any] = yaml.safe_load(read("docs/ci/github-actions.yml"))
JOBS: dict[str, Any] = WORKFLOW["jobs"]
GITHUB: dict[str, Any] = cfn_yaml.loads(read("docs/ci/github-oidc.yaml"))
ROLES: dict[str, Any] = GITHUB["Resources"]
STEPS = [(name, step) for name, job in JOBS.items() for step in job["steps"]]


def commands(text: str) -> list[list[str]]:
    """Split the commands of a shell block into words; `$(…)` is a command of its own."""
    joined = text.replace("\\\n", " ")
    inner = re.findall(r"\$\((.*?)\)$", joined, re.MULTILINE | re.DOTALL)
    lines = [*re.sub(r"\w+=\$\(.*?\)$", "", joined, flags=re.MULTILINE | re.DOTALL).splitlines(), *inner]
    return [words for line in lines if (words := shlex.split(line, comments=True))]


UNRUN = [
    words
    for title, first in ONLY_AWS.items()
    for block in blocks(SECTIONS[title])[first:]
    if VERSIONS not in block
    for words in commands(block)
]


AWS = create_clidriver().create_help_command()


@pytest.mark.parametrize("words", [words for words in UNRUN if words[0] == "aws"], ids=" ".join)
def test_a_command_of_the_aws_cli_has_these_options(words: list[str]) -> None:
    command = AWS.command_table[words[1]]
    table = getattr(command, "subcommand_table", None) or command.create_help_command().command_table
    known = set(AWS.arg_table)
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

    assert {tuple(words[:2]) for words in others} == {("make", "test-aws"), ("custody", "destroy")}
    by_hand = Run("", "", DEFAULT_ENV, (), is_aws=True, environment={}).deletion_command
    assert [" ".join(words) for words in others if words[0] == "custody"] == [by_hand]
    assert "\ntest-aws: setup" in MAKEFILE
    for variable in ("AWS_PROFILE", "ACCOUNT", "TEST_ENV", "SETTINGS"):
        assert variable in SECTIONS["Test in your account"]
    for variable in ("ACCOUNT", "TEST_ENV", "SETTINGS"):
        assert f'{variable}="$({variable})"' in MAKEFILE


def test_the_template_for_github_has_no_fault() -> None:
    assert cfnlint.lint(read("docs/ci/github-oidc.yaml")) == []


def statement_of(name: str) -> Any:
    (policy,) = ROLES[name]["Properties"]["Policies"]
    (statement,) = policy["PolicyDocument"]["Statement"]
    return statement


def test_who_deploys_from_github_may_assume_roles_of_the_cdk_and_nothing_else() -> None:
    statement = statement_of("Deployer")

    assert statement["Action"] == "sts:AssumeRole"
    assumed = [resource["Fn::Sub"].rpartition("/")[2] for resource in statement["Resource"]]
    rest = "${AWS::AccountId}-${AWS::Region}"
    assert assumed == [f"cdk-${{Qualifier}}-{kind}-role-{rest}" for kind in ("deploy", "file-publishing", "lookup")]


def test_a_pull_request_may_read_the_template_of_one_stack_and_nothing_else() -> None:
    """The lookup role of the CDK, which is ReadOnlyAccess, would show it the records in executions."""
    statement = statement_of("Differ")

    assert statement["Action"] == ["cloudformation:DescribeStacks", "cloudformation:GetTemplate"]
    stack = "arn:${AWS::Partition}:cloudformation:${AWS::Region}:${AWS::AccountId}:stack/custody-${Environment}/*"
    assert statement["Resource"] == {"Fn::Sub": stack}


def test_a_pull_request_has_a_role_only_on_request_and_never_in_prod() -> None:
    assert GITHUB["Parameters"]["ComparesPullRequests"]["Default"] == "false"
    assert ROLES["Differ"]["Condition"] == GITHUB["Outputs"]["DifferArn"]["Condition"] == "MakesDiffer"
    assert GITHUB["Conditions"]["MakesDiffer"] == {"Fn::Equals": [{"Ref": "ComparesPullRequests"}, "true"]}
    (rule,) = GITHUB["Rules"].values()
    assert rule["RuleCondition"] == {"Fn::Equals": [{"Ref": "Environment"}, "prod"]}
    assert rule["Assertions"][0]["Assert"] == {"Fn::Equals": [{"Ref": "ComparesPullRequests"}, "false"]}


def test_github_is_trusted_by_whole_subjects_and_its_identity_provider_outlives_the_stack_for_others() -> None:
    assert ROLES["Provider"]["DeletionPolicy"] == ROLES["Provider"]["UpdateReplacePolicy"] == "Retain"
    for name, whom in {"Deployer": "environment:${Environment}", "Differ": "pull_request"}.items():
        (statement,) = ROLES[name]["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Condition"] == {
            "StringEquals": {
                "token.actions.githubusercontent.com:aud": "sts.amazonaws.com",
                "token.actions.githubusercontent.com:sub": {"Fn::Sub": f"${{Subject}}:{whom}"},
            }
        }


def test_actions_are_pinned_by_commit_with_the_version_beside_it() -> None:
    text = read("docs/ci/github-actions.yml")

    used = re.findall(r"uses: (.*)", text)
    assert len(used) == sum("uses" in step for _, step in STEPS)
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action), action


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
