"""What the synthesised stack says of permissions and alarms."""

from collections.abc import Iterator, Mapping
from typing import Any

from docs.generator.markdown import table
from infra.settings import FUNCTIONS
from tests.support.template import ACCOUNT, EXISTING, REGION, Deployment, listed

Row = tuple[str, str, str, str]
_WITH = {"prod": "", "buffered": ", with `buffered`", "existing": ", with `raw_bucket`"}


def permissions(deployments: Mapping[str, Deployment]) -> str:
    """Write who may do what on which resource, without logs, traces and key: in prod, then what settings add."""
    usual = list(_permissions(deployments["prod"]))
    rows = [
        (f"`{who}`{added}", *cells)
        for variant, added in _WITH.items()
        for who, *cells in _permissions(deployments[variant])
        if variant == "prod" or (who, *cells) not in usual
    ]
    return table(("who", "may", "on", "if"), rows)


def _permissions(deployment: Deployment) -> Iterator[Row]:
    roles = {deployment.function(name)["Role"]: name for name in FUNCTIONS}
    roles |= {deployment.machine(name)["RoleArn"]: name for name in ("pipeline", "bulk")}
    for arn, who in roles.items():
        for statement in deployment.statements(arn):
            actions, resources = listed(statement["Action"]), listed(statement["Resource"])
            if actions[0].startswith(("logs:", "xray:")) or resources == [deployment.key]:
                continue
            conditions = [
                f"`{key}` is `{_plain(value, deployment)}`"
                for keys in statement.get("Condition", {}).values()
                for key, value in keys.items()
            ]
            on = ", ".join(_resource(resource, deployment) for resource in resources)
            yield who, ", ".join(f"`{action}`" for action in actions), on, " and ".join(conditions)


def _resource(arn: str, deployment: Deployment) -> str:
    if arn in {deployment.key, EXISTING["raw_key_arn"]}:
        return "the key" if arn == deployment.key else "`raw_key_arn`"
    if deployment.is_buffered and arn.endswith(f":{deployment.buffer}"):
        return "the buffer"
    place = f"{EXISTING['raw_bucket']}/{EXISTING['raw_prefix']}"
    return f"`{_plain(arn.split(':', 5)[-1].replace(place, '<raw_bucket>/<raw_prefix>'), deployment)}`"


def _plain(text: Any, deployment: Deployment) -> str:
    """Leave out what differs from one environment, account and region to another."""
    plain = str(text).replace(f"custody-{deployment.env}", "custody-<env>").replace(f"-{ACCOUNT}-{REGION}-an", "")
    return plain.replace(f".{REGION}.", ".<region>.")


def alarms(deployments: Mapping[str, Deployment]) -> str:
    """Write each alarm with its meaning and its section of the runbook, whichever settings it goes with."""
    rows: dict[str, tuple[str, str]] = {}
    for deployment in (deployments[variant] for variant in _WITH):
        for name, alarm in deployment.of_type("AWS::CloudWatch::Alarm").items():
            meaning, _, section = alarm["AlarmDescription"].partition(" What to do: docs/runbook.md#")
            rows[_plain(name, deployment)] = meaning, section.rstrip(".")
    return table(
        ("alarm", "meaning", "section"),
        [(f"`{name}`", meaning, f"[{section}](#{section})") for name, (meaning, section) in rows.items()],
    )
