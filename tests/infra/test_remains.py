"""What outlives its stack can be listed by `custody destroy` afterwards."""

from custody.deployment.destroy import KINDS, RETAINED
from tests.support.template import Deployment


def test_each_kind_of_retained_resource_is_inspected_and_carries_the_tags(prod: Deployment) -> None:
    retained = [each for each in prod.resources.values() if each.get("DeletionPolicy") in RETAINED]

    assert {each["Type"] for each in retained} == set(KINDS)
    for resource in retained:
        assert {tag["Key"] for tag in resource["Properties"]["Tags"]} >= {"project", "env"}


def test_bucket_names_have_the_prefix_of_their_environment(prod: Deployment) -> None:
    assert all(name.startswith("custody-prod-") for name in prod.of_type("AWS::S3::Bucket"))
