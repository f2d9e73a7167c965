"""The options that the commands share."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from custody.deployment.target import Target, choose
from custody.errors import USAGE, CommandFailed
from custody.terminal import console
from custody.terminal.text import visible

_AGE = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?)(?P<unit>[smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

ENV = re.compile(r"[a-z][a-z0-9]{0,11}")
"""What infra/settings.py lets an environment be called. Without a hyphen, no name of one begins as another's do."""


def environment(given: str) -> str:
    """Take the name of an environment; raise CommandFailed if none can be called so."""
    if not ENV.fullmatch(given):
        raise CommandFailed(
            f"No environment is called {visible(repr(given))}: it is 1 to 12 lower-case letters and digits, a letter "
            "first. See --env and CUSTODY_ENV.",
            USAGE,
        )
    return given


_SLOWEST = 0.01
"""Starts a second, at the least: slower is a slip of the pen."""

Env = Annotated[
    str,
    typer.Option(envvar="CUSTODY_ENV", callback=environment, help="The environment: the stack is custody-ENV."),
]
Aws = Annotated[
    bool,
    typer.Option("--aws", envvar="CUSTODY_AWS", help="Use AWS with the default credentials, not embedded AWS."),
]
Profile = Annotated[str | None, typer.Option(envvar="CUSTODY_PROFILE", help="Use AWS with this profile.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def target_of(aws: bool, profile: str | None) -> Target:  # noqa: FBT001 - as the option came
    """Find the AWS to talk to, and say which it is."""
    target = choose(aws=aws, profile=profile)
    console.stderr.print(f"target: {target.name}", soft_wrap=True, markup=False)
    return target


def age(given: str) -> timedelta:
    """Read a time such as `20s`, `90m`, `1.5h` or `7d`; raise typer.BadParameter."""
    read = _AGE.fullmatch(given)
    if not read:
        raise typer.BadParameter(f"{given!r} is not a time like 20s, 90m, 36h or 7d")
    try:
        found = timedelta(**{_UNITS[read["unit"]]: float(read["number"])})
        # Whoever takes an age takes it from now.
        datetime.now(UTC) - found
    except OverflowError as error:
        raise typer.BadParameter(f"{given!r} is longer than there are years") from error
    return found


def moment(given: str) -> datetime:
    """Read what --since and --until take: a day or a time (ISO 8601, UTC if no zone is given), or an age like `36h`.

    It is given in UTC. Raises typer.BadParameter.
    """
    if _AGE.fullmatch(given):
        return datetime.now(UTC) - age(given)
    try:
        found = datetime.fromisoformat(given)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{given!r} is not a day (2026-03-01), a time (2026-03-01T09:00), or an age (20s, 90m, 36h, 7d)"
        ) from error


Since = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="TIME", help="From then on: a day, a time, or an age like 36h."),
]
Until = Annotated[
    datetime | None, typer.Option(parser=moment, metavar="TIME", help="Up to then: a day, a time, or an age like 36h.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for how they end.")]
Patience = Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait until all have ended.")]


def rate(given: str) -> float:
    """Read what --rate takes: how many a second, such as `5` or `5/s`; raise typer.BadParameter."""
    try:
        found = float(given.removesuffix("/s"))
    except ValueError:
        found = 0.0
    if not _SLOWEST <= found < float("inf"):
        raise typer.BadParameter(f"{given!r} is not a number of at least {_SLOWEST}, such as 5 or 5/s")
    return found


PerSecond = Annotated[
    float, typer.Option("--rate", parser=rate, metavar="N", help="At most so many starts a second, like 5/s.")
]
