"""Options that commands share, and the parsers of their values."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from custody.errors import USAGE, CommandFailed

ENV = re.compile(r"[a-z][a-z0-9]{0,11}")
"""The names of environments, as in infra/settings.py. Without hyphens, no resource of one environment can have a name
that starts with `custody-<another environment>-`."""

_AGE = re.compile(r"(?P<number>[0-9]+(\.[0-9]+)?)(?P<unit>[smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_MIN_RATE = 0.01


def environment(text: str) -> str:
    """Validate the name of an environment; raise CommandFailed."""
    if not ENV.fullmatch(text):
        raise CommandFailed(
            f"{text!r} is not a valid environment name: use 1 to 12 lowercase letters and digits, "
            "starting with a letter, in --env or CUSTODY_ENV.",
            USAGE,
        )
    return text


def age(text: str) -> timedelta:
    """Parse an age such as `20s`, `90m`, `1.5h` or `7d`; raise typer.BadParameter."""
    match = _AGE.fullmatch(text)
    if not match:
        raise typer.BadParameter(f"{text!r} is not an age such as 20s, 90m, 36h or 7d")
    try:
        duration = timedelta(**{_UNITS[match["unit"]]: float(match["number"])})
        # Callers subtract it from the current time.
        datetime.now(UTC) - duration
    except OverflowError as error:
        raise typer.BadParameter(f"{text!r} goes back before the year 1") from error
    return duration


def moment(text: str) -> datetime:
    """Parse a date or time (ISO 8601, UTC by default), or an age such as `36h`, into a time in UTC.

    Raises typer.BadParameter.
    """
    if _AGE.fullmatch(text):
        return datetime.now(UTC) - age(text)
    try:
        parsed = datetime.fromisoformat(text)
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{text!r} is not a date (2026-03-01), a time (2026-03-01T09:00) or an age (20s, 90m, 36h, 7d)"
        ) from error


def rate(text: str) -> float:
    """Parse a rate such as `5` or `5/s`; raise typer.BadParameter."""
    try:
        number = float(text.removesuffix("/s"))
    except ValueError:
        number = 0.0
    if not _MIN_RATE <= number < float("inf"):
        raise typer.BadParameter(f"{text!r} is not a number of at least {_MIN_RATE}, such as 5 or 5/s")
    return number


Env = Annotated[
    str,
    typer.Option(
        metavar="NAME", envvar="CUSTODY_ENV", callback=environment, help="Environment; its stack is custody-NAME."
    ),
]
Aws = Annotated[
    bool,
    typer.Option("--aws", envvar="CUSTODY_AWS", help="Use AWS with the default credentials, not embedded AWS."),
]
Profile = Annotated[
    str | None, typer.Option(metavar="NAME", envvar="CUSTODY_PROFILE", help="Use AWS with this profile.")
]
AllOpen = Annotated[bool, typer.Option("--open", help="All open dead letters.")]
OfDataset = Annotated[str | None, typer.Option("--dataset", help="Only dead letters of this dataset.")]
OfError = Annotated[str | None, typer.Option("--error", help="Only those with this error, such as AccessRefused.")]
OfStep = Annotated[str | None, typer.Option("--step", help="Only those of this step, such as validate.")]
Wide = Annotated[bool, typer.Option("--wide", help="Show ids and URIs in tables whole, however long the lines.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, without doing it.")]
NoWait = Annotated[bool, typer.Option("--no-wait", help="Do not wait for the outcome.")]
Patience = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=1, help="Maximum time to wait.")]
PerSecond = Annotated[
    float, typer.Option("--rate", parser=rate, metavar="N", help="Maximum number of starts per second.")
]
Since = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="TIME", help="Only since this date or time, or at most this old, such as 36h."),
]
Until = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="TIME", help="Only up to this date or time, or at least this old, such as 2h."),
]
