"""docs/deploy.md, followed from the top to the bottom on embedded AWS; what only AWS has, is in tests/infra."""

import pytest

from tests.e2e.system.test_destroy import typed
from tests.infra.test_deploy_document import ONLY_AWS
from tests.support.deployed import Cloud
from tests.support.documents import Shell, blocks, read, sections

SECTIONS = sections(read("docs/deploy.md"))
BEGIN = blocks(SECTIONS.pop(""))
ENV = "staging"

pytestmark = pytest.mark.timeout(600)


def reader(cloud: Cloud, env: str, **answers: str) -> Shell:
    """Open the shell of one who has typed what the document begins with, for an environment."""
    begun = [block.replace("<environment>", env) for block in BEGIN]
    return Shell(cloud, {name.replace("_", " "): answer for name, answer in answers.items()}, begun)


def test_an_environment_is_deployed_watched_and_taken_away(cloud: Cloud) -> None:
    left = cloud.deployment.raw.replace("-dev-", f"-{ENV}-")
    shell = reader(cloud, ENV, https_address="https://example.com/alarms", bucket_that_is_left=left)
    diff_deploy_status = shell.run(*blocks(SECTIONS["Deploy"]))
    assert f"custody-{ENV}-raw" in diff_deploy_status

    listed, subscribed, _ = [shell.run(block) for block in blocks(SECTIONS["Be told"])]
    assert "you@example.com" in listed
    assert "pending confirmation" in subscribed
    alarm = cloud.client("cloudwatch").describe_alarms(AlarmNames=[f"custody-{ENV}-executions-failed"])
    assert alarm["MetricAlarms"][0]["StateValue"] == "ALARM"

    dry_run, asked, scripted, unprotect, rest = blocks(SECTIONS["Remove"])
    assert left in shell.run(dry_run)
    shell.run(unprotect)
    assert asked == "custody destroy"
    assert typed(cloud, ENV, "nothing of the kind").returncode == 2, "it asks for the name"
    assert f"custody-{ENV} is deleted" in shell.run(scripted)
    cloud.client("s3").create_bucket(Bucket=left)
    assert left not in shell.run(rest).rpartition("there is no stack")[2]


def test_the_first_files_are_watched(cloud: Cloud) -> None:
    shell = reader(cloud, "dev")
    good, bad = [shell.run(block) for block in blocks(SECTIONS["The first file"])]

    assert "written" in good
    assert "/confidence: maximum 1" in bad
    assert "RecordsRejected" in bad, "its dead letter is listed"


def test_the_budget_of_the_document_on_costs_can_be_made(cloud: Cloud) -> None:
    shell = reader(cloud, "dev")
    (budget,) = blocks(read("docs/costs.md"))
    shell.run(budget.replace("<usd a month>", "20").replace("<e-mail address>", "you@example.com"))

    (found,) = cloud.client("budgets").describe_budgets(AccountId="000000000000")["Budgets"]
    assert float(found["BudgetLimit"]["Amount"]) == 20
    assert found["CostFilters"] == {"TagKeyValue": ["user:project$custody"]}


def test_each_block_is_run_here_or_checked_in_tests_infra() -> None:
    run_here = {"Deploy", "Be told", "The first file", "Remove"}
    assert {title for title, body in SECTIONS.items() if blocks(body)} == run_here | ONLY_AWS.keys()
