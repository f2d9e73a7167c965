"""What others know of good stacks: cdk-nag at synth, cfn-lint on the template; and that both can fail."""

import json
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import aws_s3 as s3
from cfnlint.api import lint  # type: ignore[import-untyped]  # it ships no types
from cfnlint.config import ManualArgs  # type: ignore[import-untyped]

from infra.app import build
from tests.support.template import Deployment, empty_app

# W3005: CDK writes that a function depends on its role beside the reference to it.
ARGUMENTS = ManualArgs(regions=["us-east-1", "eu-west-1"], ignore_checks=["W3005"])


def complaints(template: dict[str, Any]) -> list[str]:
    return [f"{match.rule.id} {match.message}" for match in lint(json.dumps(template), config=ARGUMENTS)]


def spelled_out(deployment: Deployment) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Give a copy of the template whose state machines have no placeholder left, and their properties."""
    template = json.loads(json.dumps(deployment.template))
    machines = {}
    for machine in template["Resources"].values():
        if machine["Type"] == "AWS::StepFunctions::StateMachine":
            name = machine["Properties"]["StateMachineName"].rpartition("-")[2]
            machine["Properties"]["DefinitionString"] = deployment.definition(name)
            del machine["Properties"]["DefinitionSubstitutions"]
            del machine["Metadata"]
            machines[name] = machine["Properties"]
    assert set(machines) == {"pipeline", "bulk"}
    return template, machines


def test_cfn_lint_finds_nothing(deployment: Deployment) -> None:
    template, _ = spelled_out(deployment)

    assert complaints(template) == []


def test_cfn_lint_finds_nothing_in_the_template_itself(prod: Deployment) -> None:
    assert complaints(prod.template) == []


@pytest.mark.parametrize(
    ("name", "begins"), [("pipeline", "Validate"), ("bulk", "ProcessChunks"), ("bulk", "ValidateChunk")]
)
def test_cfn_lint_checks_the_definition(prod: Deployment, name: str, begins: str) -> None:
    template, machines = spelled_out(prod)
    machine = machines[name]
    spoilt = machine["DefinitionString"].replace(f'"StartAt": "{begins}"', '"StartAt": "Nowhere"')
    assert spoilt != machine["DefinitionString"]
    machine["DefinitionString"] = spoilt

    assert any(complaint.startswith("E3601") and "Nowhere" in complaint for complaint in complaints(template))


def test_cdk_nag_finds_nothing(deployment: Deployment) -> None:
    report = json.loads((deployment.folder / "validation-report.json").read_text())

    assert report["pluginReports"] == []


def test_cdk_nag_fails_synth_of_an_insecure_resource(tmp_path: Path) -> None:
    app = empty_app({}, tmp_path)
    s3.Bucket(build(app), "Careless")

    with pytest.raises(RuntimeError, match="ValidationFailed"):
        app.synth()
    assert "AwsSolutions-S10" in (tmp_path / "validation-report.json").read_text()
