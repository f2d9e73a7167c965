"""What was discarded of a dead letter."""

from custody.recovery.discard import DiscardDocument
from custody.terminal.console import SHOWN, console
from custody.terminal.text import plural, visible


def discards(document: DiscardDocument) -> None:
    """Show the first discards, each with its first records, and how many there are of both."""
    is_single = len(document.discards) == 1
    for discard in document.discards[:SHOWN]:
        console.print(f"discarded: {visible(discard.summary)}", markup=False, soft_wrap=True)
        for record in discard.records if is_single else []:
            console.print(f"  {record}", soft_wrap=True)
        console.print(f"  ledger    {discard.ledger}; nothing was deleted", soft_wrap=True)
        if is_single:
            console.print(f"  reason    {visible(discard.reason)}", markup=False, soft_wrap=True)
            console.print(f"  by        {discard.by}", soft_wrap=True)
    for refused in document.refused[:SHOWN]:
        console.print(f"not discarded: {visible(refused.why)}", style="red", markup=False, soft_wrap=True)
    if len(document.discards) + len(document.refused) > 1:
        more = ", of which the first are shown" if len(document.discards) > SHOWN else ""
        records = sum(discard.counts.discarded for discard in document.discards if discard.counts)
        refusals = f"; {len(document.refused):,} not discarded" if document.refused else ""
        console.print(
            f"{plural(len(document.discards), 'dead letter')} discarded{more}; {plural(records, 'record')}{refusals}"
        )
