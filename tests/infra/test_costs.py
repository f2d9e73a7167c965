"""docs/costs.md: each figure is worked out again from its prices, the template and what the code takes."""

import json
import re

import pytest

from benchmarks.costs import RECORD_BYTES, RUN_OBJECTS, Costs, Prices, rows
from functions.transform.core import load
from infra.app import ROOT
from infra.settings import Settings
from tests.support.template import Deployment

DOCUMENT = (ROOT / "docs" / "costs.md").read_text(encoding="utf-8")
SAMPLE = {"mission": "space", "source": "MASINT", "confidence": 0.95}


@pytest.fixture
def costs(prod: Deployment) -> Costs:
    return Costs.read(alarms=len(prod.of_type("AWS::CloudWatch::Alarm")))


def assert_said(text: str) -> None:
    assert text in re.sub(r"\s+", " ", DOCUMENT.replace("**", "")), f"docs/costs.md ought to say: {text}"


def test_each_table_is_what_the_prices_and_the_code_make_it(costs: Costs) -> None:
    for table in costs.tables().values():
        assert table in DOCUMENT, f"docs/costs.md ought to say (python -m benchmarks.costs):\n{table}"


def test_what_is_said_in_short_is_what_the_tables_say(costs: Costs) -> None:
    assert_said(f"Nothing happens: {costs.idle().usd:.2f} a month")
    assert_said(f"Small objects: about {costs.objects().usd:.0f} a million. Three quarters of that are the state")
    (transitions,) = (line.usd for line in costs.objects().lines if line.what == "Step Functions")
    assert 0.7 < transitions / costs.objects().usd < 0.8
    kept = sum(float(cells[-1]) for cells in rows(DOCUMENT, "bucket").values())
    assert_said(f"Large objects: about {costs.records().usd:.2f} for 100 million records, and {kept:.2f} a month")
    assert costs.records().usd / 100 * 10_000 < costs.objects().usd
    assert_said("they cost less than a ten-thousandth of what they cost one by one")
    assert_said(f"a million of them cost {costs.ledger():.3f} a month")


def test_what_a_buffer_adds_is_said(costs: Costs) -> None:
    requests, usd = costs.buffering()

    assert_said(f"also while it is empty: about {costs.polling():.2f} a month")
    assert_said(f"With `buffered` there are {requests} requests to SQS for ten objects, {usd:.2f} a million objects")


def test_what_an_existing_raw_bucket_adds_is_said(costs: Costs, existing: Deployment) -> None:
    alarms = len(existing.of_type("AWS::CloudWatch::Alarm"))

    assert_said(f"With `raw_bucket` there are {alarms} alarms, {Costs.read(alarms).idle().usd:.2f} a month in all")
    assert alarms > costs.alarms


def test_what_a_budget_needs_to_tell_in_time_is_there() -> None:
    assert re.findall(r'"NotificationType": "(\w+)"', DOCUMENT) == ["ACTUAL", "FORECASTED"]


def test_a_run_on_aws_costs_no_more_than_it_says(costs: Costs) -> None:
    assert_said(f"A run makes about {RUN_OBJECTS} executions at most")
    assert costs.run() < 0.05
    assert_said("less than 0.05 USD")
    assert_said(f"Should it not be taken away, it costs {costs.idle().usd:.2f} USD a month")


def test_what_is_billed_while_nothing_happens_is_in_the_table(prod: Deployment, buffered: Deployment) -> None:
    free_when_idle = {
        "AWS::S3::Bucket",
        "AWS::S3::BucketPolicy",
        "AWS::Logs::LogGroup",
        "AWS::SQS::Queue",
        "AWS::SQS::QueuePolicy",
        "AWS::SNS::Topic",
        "AWS::SNS::TopicPolicy",
        "AWS::SNS::Subscription",
        "AWS::Lambda::Function",
        "AWS::Lambda::LayerVersion",
        "AWS::Lambda::Permission",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::EventSourceMapping",
        "AWS::StepFunctions::StateMachine",
        "AWS::Events::Rule",
        "AWS::IAM::Role",
        "AWS::IAM::Policy",
        "AWS::KMS::Alias",
        "Custom::S3AutoDeleteObjects",
    }
    for deployment in (prod, buffered):
        kinds = {found["Type"] for found in deployment.resources.values()}
        assert kinds - free_when_idle == {"AWS::KMS::Key", "AWS::CloudWatch::Alarm"}
        assert len(deployment.of_type("AWS::KMS::Key")) == 1


def test_temporary_storage_beyond_what_is_free_is_not_used_by_default() -> None:
    assert {Settings().size(step).storage_mb for step in ("validate", "transform", "write")} == {512}


def test_the_sample_has_as_many_bytes_as_is_said() -> None:
    written = json.dumps(load("mission")(SAMPLE), separators=(",", ":")) + "\n"

    assert len(json.dumps(SAMPLE)) + 1 == RECORD_BYTES
    assert len(written) == Prices.read(DOCUMENT).assumed["bytes of a processed record"]


def test_each_price_says_where_it_is_from() -> None:
    for name, cells in rows(DOCUMENT, "price").items():
        assert re.fullmatch(r"\[[\w -]+\]\(https://aws\.amazon\.com/[\w/-]+/pricing/\)", cells[2]), name
        assert cells[3] in {"seen there", "check there"}, name
