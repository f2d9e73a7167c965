"""What outlives its stack is what `custody destroy` finds afterwards."""

from custody.deployment.stack import KEPT, KINDS
from tests.support.template import Deployment


def test_each_kind_that_the_template_keeps_is_one_that_is_looked_for(prod: Deployment) -> None:
    kept = {found["Type"] for found in prod.resources.values() if found.get("DeletionPolicy") in KEPT}

    assert kept == set(KINDS)


def test_what_is_kept_is_named_so_that_it_is_found(prod: Deployment) -> None:
    for kind in ("AWS::S3::Bucket", "AWS::SQS::Queue"):
        assert all(name.startswith("custody-prod-") for name in prod.of_type(kind))
    places = ("/aws/lambda/custody-prod-", "/aws/vendedlogs/states/custody-prod-")
    assert all(name.startswith(places) for name in prod.of_type("AWS::Logs::LogGroup"))
    (key,) = (found for found in prod.resources.values() if found["Type"] == "AWS::KMS::Key")
    assert {tag["Key"] for tag in key["Properties"]["Tags"]} == {"project", "env"}
