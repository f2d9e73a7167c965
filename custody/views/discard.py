"""Discards: each is reported as soon as it is committed, also if the command is interrupted or fails."""

import json
import sys
from typing import Self

from msgspec import to_builtins
from rich.text import Text

from custody.recovery.discard_file import Discard, DiscardResult
from custody.terminal import console
from custody.terminal.text import plural, visible
from functions.shared.model.ids import record_id
from functions.shared.model.keys import DeadLetterKey


class DiscardReport:
    """Reports the discard of a batch, or of a bulk object by the dead letter of the whole and those of its `chunks`.

    A document has every discard; as text a bulk object shows the first of them, and holds no more in memory.
    """

    def __init__(self, dead_letter: DeadLetterKey, chunks: int, audit_bucket: str, *, as_json: bool) -> None:
        self._dead_letter = dead_letter
        self._chunks = chunks
        self._audit_bucket = audit_bucket
        self._as_json = as_json
        self._number = self._records = 0
        self._shown: dict[DeadLetterKey, Text] = {}

    @property
    def progress(self) -> str:
        """Describe the progress in a line."""
        if not self._chunks:
            return "discarding"
        return f"discarding: {self._number:,} of {plural(self._chunks, 'dead letter')}"

    def note(self, discard: Discard) -> None:
        """Report a committed discard."""
        self._number += 1
        result = discard.result(self._audit_bucket)
        self._records += result.counts.discarded if result.counts else 0
        if self._as_json and self._dead_letter.is_of_whole:
            sys.stdout.write(("," if self._number > 1 else "") + "\n" + json.dumps(to_builtins(result)))
        elif self._as_json:
            console.write_json(result)
        elif self._number <= console.SHOWN or discard.dead_letter.is_of_whole:
            self._shown[discard.dead_letter] = _describe(discard, result)

    def __enter__(self) -> Self:
        if self._as_json and self._dead_letter.is_of_whole:
            sys.stdout.write(f'{{"dead_letter": {json.dumps(self._dead_letter.id)}, "discards": [')
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        for dead_letter in sorted(self._shown):
            console.console.print(self._shown[dead_letter], soft_wrap=True)
        if not self._dead_letter.is_of_whole:
            return
        still_open = max(0, self._chunks - self._number)
        if self._as_json:
            sys.stdout.write(f'\n], "still_open": {still_open}}}\n')
        else:
            more = ", of which the first are shown" if self._number > console.SHOWN else ""
            total = f"{plural(self._number, 'dead letter')} discarded{more}; {plural(self._records, 'record')}"
            console.console.print(total)
        if failure:
            sys.stdout.flush()
            left = f"{plural(still_open, 'dead letter')} of its chunks" if still_open else self._dead_letter.id
            maybe = "" if still_open else "perhaps "
            console.warn(f"{maybe}still open: {left}; run the same command again to discard the rest")


def _describe(discard: Discard, result: DiscardResult) -> Text:
    lines = [f"discarded: {discard}, of {visible(discard.body.object.uri)}"]
    for record in discard.rejected[: console.SHOWN]:
        why = "; ".join(map(str, record.violations))
        lines.append(f"  {record_id(discard.dead_letter.object_id, record.position)}  {visible(why)}")
    more = len(discard.rejected) - console.SHOWN
    lines += [f"  and {more:,} more"] if more > 0 else []
    lines += [f"  reason    {visible(result.reason)}", f"  by        {result.by}"]
    return Text("\n".join([*lines, f"  ledger    {result.ledger}; nothing was deleted"]))
