"""What was discarded of a dead letter."""

from custody.recovery.discard import DiscardDocument
from custody.terminal.console import SHOWN, print_line
from custody.terminal.text import plural


def discards(document: DiscardDocument) -> None:
    """Show the first discards, each with its first records, and how many there are of both."""
    is_single = len(document.discards) == 1
    for discard in document.discards[:SHOWN]:
        print_line(f"discarded: {discard.summary}")
        for record in discard.records if is_single else []:
            print_line(f"  {record}")
        print_line(f"  ledger    {discard.ledger}; nothing was deleted")
        if is_single:
            print_line(f"  reason    {discard.reason}")
            print_line(f"  by        {discard.by}")
    for refused in document.refused[:SHOWN]:
        print_line((f"not discarded: {refused.why}", "red"))
    if len(document.discards) + len(document.refused) > 1:
        more = ", of which the first are shown" if len(document.discards) > SHOWN else ""
        records = sum(discard.counts.discarded for discard in document.discards if discard.counts)
        refusals = f"; {len(document.refused):,} not discarded" if document.refused else ""
        print_line(
            f"{plural(len(document.discards), 'dead letter')} discarded{more}; {plural(records, 'record')}{refusals}"
        )
