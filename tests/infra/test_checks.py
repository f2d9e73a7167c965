"""Third-party checks: cdk-nag at synth, cfn-lint on the templates; and both can fail."""

import json
import re
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


def complaints(template: str) -> list[str]:
    return [f"{match.rule.id} {match.message}" for match in lint(template, config=ARGUMENTS)]


def spelled_out(deployment: Deployment) -> dict[str, Any]:
    """Copy the template with complete definitions of the state machines: cfn-lint does not check any other."""
    template: dict[str, Any] = json.loads(json.dumps(deployment.template))
    for machine in machines(template).values():
        name = machine["Properties"]["StateMachineName"].rpartition("-")[2]
        machine["Properties"]["DefinitionString"] = deployment.definition(name)
        del machine["Properties"]["DefinitionSubstitutions"]
        del machine["Metadata"]
    return template


def machines(template: dict[str, Any]) -> dict[str, Any]:
    kind = "AWS::StepFunctions::StateMachine"
    return {name: resource for name, resource in template["Resources"].items() if resource["Type"] == kind}


def test_cfn_lint_finds_nothing(prod: Deployment, buffered: Deployment, existing: Deployment) -> None:
    """The resources of the other variants are among those of these."""
    for template in (prod.template, spelled_out(buffered), spelled_out(existing)):
        assert complaints(json.dumps(template)) == []


def test_cfn_lint_checks_the_definitions(prod: Deployment) -> None:
    found = machines(spelled_out(prod))
    for machine in found.values():
        machine["Properties"] |= {"RoleArn": "arn:aws:iam::111122223333:role/any", "LoggingConfiguration": {}}
        definition = machine["Properties"]["DefinitionString"]
        machine["Properties"]["DefinitionString"] = re.sub(
            r'"StartAt": "(Validate|ValidateChunk|ProcessChunks)"', r'"StartAt": "Not\1"', definition
        )
    complained = " ".join(each for each in complaints(json.dumps({"Resources": found})) if each.startswith("E3601"))
    for begins in ("NotValidate'", "NotValidateChunk'", "NotProcessChunks'"):
        assert begins in complained


def test_cdk_nag_finds_nothing(deployments: dict[str, Deployment]) -> None:
    for deployment in deployments.values():
        assert json.loads((deployment.folder / "validation-report.json").read_text())["pluginReports"] == []


def test_cdk_nag_fails_synth_of_an_insecure_resource(tmp_path: Path) -> None:
    app = empty_app({}, tmp_path)
    s3.Bucket(build(app), "Careless")

    with pytest.raises(RuntimeError, match="ValidationFailed"):
        app.synth()
    assert "AwsSolutions-S10" in (tmp_path / "validation-report.json").read_text()
