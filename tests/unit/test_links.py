"""Links lead into the console of the partition and region where a deployment is."""

import pytest

from custody.executions.timeline import Links

MACHINE = "arn:{partition}:states:{region}:123456789012:stateMachine:custody-prod-pipeline"
EXECUTION = "arn:{partition}:states:{region}:123456789012:execution:custody-prod-pipeline:a-1"


@pytest.mark.parametrize(
    ("partition", "region", "console"),
    [
        ("aws", "eu-west-1", "https://eu-west-1.console.aws.amazon.com"),
        ("aws-cn", "cn-north-1", "https://console.amazonaws.cn"),
        ("aws-us-gov", "us-gov-west-1", "https://console.amazonaws-us-gov.com"),
    ],
)
def test_each_partition_has_a_console(partition: str, region: str, console: str) -> None:
    arn = EXECUTION.format(partition=partition, region=region)
    links = Links(MACHINE.format(partition=partition, region=region))
    assert links.execution(arn) == f"{console}/states/home?region={region}#/v2/executions/details/{arn}"
    assert links.object("raw", "a.json") == f"{console}/s3/object/raw?region={region}&prefix=a.json"


def test_a_partition_whose_console_is_unknown_has_no_links() -> None:
    links = Links(MACHINE.format(partition="aws-iso", region="us-iso-east-1"))
    assert links.execution(EXECUTION.format(partition="aws-iso", region="us-iso-east-1")) is None
    assert links.object("raw", "a.json") is None


def test_a_key_and_a_version_are_quoted_and_embedded_aws_has_no_console() -> None:
    assert Links(None).execution(EXECUTION) is Links(None).object("raw", "a.json") is None
    link = Links(MACHINE.format(partition="aws", region="eu-west-1")).object("raw", "mission/Größe + 1&2.json", "a=b/c")
    assert link is not None
    assert link.endswith(
        "/s3/object/raw?region=eu-west-1&prefix=mission%2FGr%C3%B6%C3%9Fe+%2B+1%262.json&versionId=a%3Db%2Fc"
    )
