"""`custody verify`: check that what is stored still matches the ledger."""

from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import Annotated

import typer

from custody.assurance.findings import Result
from custody.assurance.verify import Progress, StoredLedger, stored_ledgers, verify_all
from custody.errors import USAGE, CommandFailed
from custody.session import Session
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson, Since
from custody.views import verify as view

app = command_app()

BROKEN = 1
"""The exit code if any object is broken."""


@command(
    app,
    "custody verify --since 24h",
    "custody verify RECORD --json",
    see="custody reconcile, docs/runbook.md",
)
def verify(
    session: Session,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Object ids, record ids or keys in the raw bucket; every object by default."),
    ] = None,
    *,
    since: Since = None,
    as_json: AsJson = False,
) -> None:
    """Recompute the hashes of raw and processed objects, and compare them with the ledger.

    An object holds, is broken, or has expired: its raw version is gone. `--since` refers to its latest ledger file.
    Exit code 1: an object is broken.
    """
    ledgers = _named(session, ids) if ids else stored_ledgers(session.s3, session.deployment.audit)
    # A thread of its own reads the counts for the spinner, so each exists from the beginning.
    counts = Counter[Result](dict.fromkeys(Result, 0))
    progress = Progress()
    selected = (ledger for ledger in ledgers if since is None or ledger.modified >= since)
    verdicts = verify_all(session.s3, session.deployment.audit, selected, progress)
    checked = console.counted(verdicts, counts, lambda verdict: verdict.result)
    if as_json:
        console.stream_json("objects", checked, lambda: {"counts": {str(each): counts[each] for each in Result}})
    else:
        view.verdicts(console.watched(checked, lambda _: f"checked {view.format_counts(counts)}; {progress}"))
        console.print_line(view.format_counts(counts))
    if counts[Result.BROKEN]:
        raise typer.Exit(BROKEN)


def _named(session: Session, names: list[str]) -> Iterable[StoredLedger]:
    """Find the objects that were named; raise CommandFailed, before any check, for one that is not in the ledger."""
    object_ids = dict.fromkeys(session.resolve(name).object_id for name in names)
    ledgers = {each: list(stored_ledgers(session.s3, session.deployment.audit, each)) for each in object_ids}
    if missing := [object_id for object_id, ledger in ledgers.items() if not ledger]:
        raise CommandFailed(
            f"The ledger has nothing about {', '.join(missing)}. What failed before it was committed is listed by "
            "`custody dead-letters --all`.",
            USAGE,
        )
    return chain.from_iterable(ledgers.values())
