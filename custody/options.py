"""The options that the commands share."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from custody import show
from custody.target import Target, choose

Env = Annotated[str, typer.Option(envvar="CUSTODY_ENV", help="The environment: the stack is custody-ENV.")]
Aws = Annotated[
    bool,
    typer.Option("--aws", envvar="CUSTODY_AWS", help="Use AWS with the default credentials, not embedded AWS."),
]
Profile = Annotated[str | None, typer.Option(envvar="CUSTODY_PROFILE", help="Use AWS with this profile.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


def target_of(aws: bool, profile: str | None, *, changes: bool) -> Target:  # noqa: FBT001 - as the option came
    """Find the AWS to talk to, and say which it is."""
    target = choose(aws=aws, profile=profile, changes=changes)
    show.stderr.print(f"target: {target.name}", soft_wrap=True, markup=False)
    return target


def moment(given: str) -> datetime:
    """Read what --since and --until take: a day or a time (ISO 8601, UTC if no zone is given), or an age like `36h`.

    Raises typer.BadParameter.
    """
    units = {"m": "minutes", "h": "hours", "d": "days"}
    try:
        if given[-1:] in units:
            return datetime.now(UTC) - timedelta(**{units[given[-1]]: float(given[:-1])})
        found = datetime.fromisoformat(given)
    except ValueError as error:
        raise typer.BadParameter("a day (2026-03-01), a time (2026-03-01T09:00), or an age (90m, 36h, 7d)") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


Since = Annotated[
    datetime | None,
    typer.Option(parser=moment, metavar="TIME", help="From then on: a day, a time, or an age like 36h."),
]
Until = Annotated[
    datetime | None, typer.Option(parser=moment, metavar="TIME", help="Up to then: a day, a time, or an age like 36h.")
]
