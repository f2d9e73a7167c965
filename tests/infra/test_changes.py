"""Changes of settings: turning one on, off and on again deploys, because nothing retained is in the way."""

from typing import Any

import pytest

from custody.deployment.destroy import RETAINED
from infra.settings import SCHEMA
from tests.support.template import EXISTING, Deployment, own_name

PROD = {"env": "prod"}
FIXED = {
    "env": "each environment is a stack of its own",
    "local": "a stack is on AWS or not",
    "partition": "so is an account",
    "default_dataset": "the code has one dataset",
    "bucket_namespace": "documented: it replaces every bucket",
}
"""Settings that a stack never changes, or whose change is documented as irreversible."""

CHANGES: dict[str, dict[str, Any]] = {
    "buffered": {"buffered": "true", "buffer_concurrency": 20},
    "existing bucket": EXISTING,
    "existing bucket, buffered": {**EXISTING, "buffered": "true"},
    "unlocked": {"audit_lock": "off"},
    "compliance": {"audit_lock": "compliance"},
    "other functions": {"architecture": "x86_64", "runtime": "python3.13", "alarm_email": "a@example.com"},
    "numbers": {
        name: schema["minimum"]
        for name, schema in SCHEMA.items()
        for schema in [*schema.get("anyOf", []), schema]
        if "minimum" in schema and name != "buffer_concurrency"
    },
    "others": {"log_days": 1, "json_lines_suffixes": ".jsonl,.json", "skip_markers": "false"},
}


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Deployment]:
    folder = tmp_path_factory.mktemp("changes")
    return {
        name: Deployment.synthesise({**PROD, **context}, folder / name.replace(" ", "-"))
        for name, context in CHANGES.items()
    }


def test_every_setting_is_among_the_changes() -> None:
    assert {name for context in CHANGES.values() for name in context} | set(FIXED) == set(SCHEMA)


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_can_be_undone_and_made_again(prod: Deployment, changed: dict[str, Deployment], name: str) -> None:
    with_it = changed[name]

    for before, after in ((prod, with_it), (with_it, prod)):
        old, new = before.resources, after.resources
        for logical_id, resource in old.items():
            fixed = own_name(resource["Type"], resource["Properties"])
            is_retained = {resource.get("DeletionPolicy"), resource.get("UpdateReplacePolicy")} & RETAINED
            replaced = new.get(logical_id)
            if fixed is None or not is_retained:
                continue
            assert replaced is not None, f"{fixed} would be retained, and in the way of the next deployment"
            assert fixed == own_name(replaced["Type"], replaced["Properties"])


@pytest.mark.parametrize("name", CHANGES)
def test_a_name_stays_with_its_resource(prod: Deployment, changed: dict[str, Deployment], name: str) -> None:
    """CloudFormation creates before it deletes, so a name cannot move to another resource."""
    owners = [
        {(each["Type"], own): logical_id for logical_id, each in deployment.resources.items() if (own := _name(each))}
        for deployment in (prod, changed[name])
    ]

    assert {key: owners[0][key] for key in owners[0].keys() & owners[1].keys()} == {
        key: owners[1][key] for key in owners[0].keys() & owners[1].keys()
    }


def _name(resource: dict[str, Any]) -> Any:
    # Each version of a layer is a resource of its own.
    is_layer = resource["Type"] == "AWS::Lambda::LayerVersion"
    return None if is_layer else own_name(resource["Type"], resource.get("Properties", {}))
