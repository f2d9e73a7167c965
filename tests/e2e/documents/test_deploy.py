"""docs/deploy.md, followed from top to bottom on embedded AWS; tests/infra checks what only AWS can run."""

import pytest

from tests.e2e.system.test_destroy import typed
from tests.infra.test_deploy_document import ONLY_AWS
from tests.support.deployed import Cloud
from tests.support.documents import Shell, blocks, read, sections

SECTIONS = sections(read("docs/deploy.md"))
PREAMBLE = blocks(SECTIONS.pop(""))
ENV = "staging"

pytestmark = pytest.mark.timeout(600)


def reader(cloud: Cloud, env: str, **answers: str) -> Shell:
    """Return the shell of somebody who has typed the preamble for an environment."""
    preamble = [block.replace("<environment>", env) for block in PREAMBLE]
    return Shell(cloud, {name.replace("_", " "): answer for name, answer in answers.items()}, preamble)


def test_an_environment_is_deployed_watched_and_removed(cloud: Cloud) -> None:
    left = cloud.deployment.raw.replace("-dev-", f"-{ENV}-")
    shell = reader(cloud, ENV, https_address="https://example.com/alarms", bucket_that_is_left=left)
    assert f"custody-{ENV}-raw" in "".join(shell.follow(SECTIONS["Deploy"]))

    listed, subscribed, _ = shell.follow(SECTIONS["Alarm notifications"])
    assert "you@example.com" in listed
    assert "pending confirmation" in subscribed
    alarm = cloud.client("cloudwatch").describe_alarms(AlarmNames=[f"custody-{ENV}-executions-failed"])
    assert alarm["MetricAlarms"][0]["StateValue"] == "ALARM"

    dry_run, interactive, scripted, unprotect, rest = blocks(SECTIONS["Remove"])
    assert left in shell.run(dry_run)
    shell.run(unprotect)
    assert interactive == "custody destroy"
    assert typed(cloud, ENV, "another name").returncode == 2
    assert f"custody-{ENV} is deleted" in shell.run(scripted)
    cloud.client("s3").create_bucket(Bucket=left)
    assert left not in shell.run(rest).rpartition("there is no stack")[2]


def test_the_first_files_are_processed(cloud: Cloud) -> None:
    good, bad = reader(cloud, "dev").follow(SECTIONS["The first file"])

    assert "written" in good
    assert "/confidence: maximum 1" in bad
    assert "RecordsRejected" in bad


def test_the_budget_of_the_costs_page_can_be_created(cloud: Cloud) -> None:
    answers = {"usd_a_month": "20", "e-mail_address": "you@example.com"}
    reader(cloud, "dev", **answers).follow(read("docs/costs.md"))

    (budget,) = cloud.client("budgets").describe_budgets(AccountId="000000000000")["Budgets"]
    assert float(budget["BudgetLimit"]["Amount"]) == 20
    assert budget["CostFilters"] == {"TagKeyValue": ["user:project$custody"]}


def test_every_section_with_commands_is_run_here_or_checked_in_tests_infra() -> None:
    run_here = {"Deploy", "Alarm notifications", "The first file", "Remove"}
    assert {title for title, body in SECTIONS.items() if blocks(body)} == run_here | ONLY_AWS.keys()
