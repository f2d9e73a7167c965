"""Partitions: a template for each that is supported, without what it refuses; other regions are refused by name."""

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.session import Session
from cfnlint.api import lint  # type: ignore[import-untyped]  # it ships no types
from cfnlint.config import ManualArgs  # type: ignore[import-untyped]

from infra.app import build
from infra.partitions import PARTITIONS, WITHOUT_NAMESPACE, check
from infra.settings import SettingRefused, parse
from tests.support.template import ACCOUNT, REGION, Deployment, empty_app

X86_64 = 62  # e_machine, https://refspecs.linuxfoundation.org/elf/gabi4+/ch4.eheader.html
REGIONS = [
    (partition, region)
    for partition in Session().get_available_partitions()
    for region in Session().get_available_regions("s3", partition)
]


@pytest.fixture(scope="module", params=PARTITIONS)
def partition(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def template(partition: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Synthesise a template with every resource."""
    context = {"partition": partition, "buffered": "true", "env": "prod"}
    return Deployment.synthesise(context, tmp_path_factory.mktemp("partition")).template


def properties(template: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [each["Properties"] for each in template["Resources"].values() if each["Type"] == kind]


def test_a_template_has_only_what_its_partition_supports(partition: str, template: dict[str, Any]) -> None:
    supported = PARTITIONS[partition]
    functions, mappings = (
        properties(template, "AWS::Lambda::Function"),
        properties(template, "AWS::Lambda::EventSourceMapping"),
    )

    assert {"LoggingConfig" in each for each in functions} == {supported.logging_config}
    assert {"TracingConfig" in each for each in functions} == {supported.tracing}
    assert {"Tags" in each for each in mappings} == {supported.mapping_tags}


def test_arns_and_hosts_follow_the_partition(template: dict[str, Any]) -> None:
    text = json.dumps(template)

    assert "arn:aws" not in text
    assert (
        '"kms:ViaService": {"Fn::Join": ["", ["s3.", {"Ref": "AWS::Region"}, ".", {"Ref": "AWS::URLSuffix"}]]}' in text
    )
    assert '"Service": {"Fn::Join": ["", ["logs.", {"Ref": "AWS::Region"}, ".", {"Ref": "AWS::URLSuffix"}]]}' in text


def test_cfn_lint_accepts_it_in_regions_of_the_partition(partition: str, template: dict[str, Any]) -> None:
    regions = [region for name, region in REGIONS if name == partition][:2]
    matches = lint(json.dumps(template), config=ManualArgs(regions=regions, ignore_checks=["W3005"]))

    assert [f"{match.rule.id} {match.message}" for match in matches] == []


@pytest.mark.parametrize(("partition", "region"), REGIONS)
def test_a_region_is_accepted_with_its_own_partition_only(partition: str, region: str) -> None:
    namespace = {"bucket_namespace": "global"} if region in WITHOUT_NAMESPACE else {}
    for setting in PARTITIONS:
        settings = parse({"partition": setting, **namespace})
        if setting == partition:
            check(settings, region)
            continue
        with pytest.raises(SettingRefused, match=f"{partition}\\b"):
            check(settings, region)


@pytest.mark.parametrize(
    ("region", "message"),
    [
        ("us-gov-west-1", "Set it: -c partition=aws-us-gov"),
        ("us-iso-east-1", "in the partition aws-iso. Custody supports aws, aws-us-gov, aws-cn"),
        ("me-south-1", "Set it: -c bucket_namespace=global"),
    ],
)
def test_synth_refuses_a_region_that_the_settings_do_not_fit(
    region: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CDK_DEFAULT_REGION", region)
    with pytest.raises(SettingRefused, match=message):
        build(empty_app({}, tmp_path))
    build(empty_app({"local": "true"}, tmp_path))  # embedded AWS has every region


def test_other_processors_runtimes_and_bucket_names(tmp_path: Path) -> None:
    context = {"architecture": "x86_64", "runtime": "python3.12", "bucket_namespace": "global"}
    deployment = Deployment.synthesise(context, tmp_path)
    functions = properties(deployment.template, "AWS::Lambda::Function")
    (layer,) = properties(deployment.template, "AWS::Lambda::LayerVersion")
    library = next((tmp_path / f"asset.{Path(layer['Content']['S3Key']).stem}").rglob("*.so"))

    own = [each for each in functions if "FunctionName" in each]
    assert {(each["Runtime"], *each["Architectures"]) for each in own} == {("python3.12", "x86_64")}
    assert library.read_bytes()[18] == X86_64
    assert f"custody-dev-raw-{ACCOUNT}-{REGION}" in deployment.of_type("AWS::S3::Bucket")
    assert "-an" not in json.dumps(deployment.template)
