"""Sample data of the mission dataset as JSON Lines: as much as is asked for, always the same for the same seed."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

_SOURCES = ("GEOINT", "HUMINT", "IMINT", "MASINT", "OSINT", "SIGINT")
_MISSIONS = ("Dawn Patrol", "Harbour Watch", "Long Range", "Northern Light", "Quiet Field", "Space Weather")
BLOCK = 1000
"""Lines that are made together."""

_CONFIDENCES = 1001
_BAD = (
    '{"mission":"%s","source":"RUMINT","confidence":0.5,"observation":%d}\n',
    '{"mission":"%s","source":"OSINT","confidence":1.7,"observation":%d}\n',
    '{"mission":"%s","confidence":0.5,"observation":%d}\n',
    '{"mission":" ","source":"OSINT","confidence":"high","note":"%s","observation":%d}\n',
)
_MALFORMED = (
    '{"mission":"%s","source":"OSINT","confidence":0.5,"observation":%d\n',
    "mission=%s observation=%d\n",
    '{"mission":"%s","source":"OSINT","confidence":NaN,"observation":%d}\n',
)


@dataclass(frozen=True)
class Sample:
    """What to make: `bad` of the records break the contract, `malformed` are no JSON; both are spread evenly."""

    records: int
    bad: int = 0
    malformed: int = 0
    seed: int = 0

    def lines(self) -> Iterator[bytes]:
        """Give the lines, a block of them at a time."""
        # For show, and no secret: the same seed shall give the same data.
        chance = random.Random(self.seed)  # noqa: S311
        for first in range(0, self.records, BLOCK):
            numbers = range(first, min(first + BLOCK, self.records))
            yield "".join([self._line(number, chance) for number in numbers]).encode()

    def _line(self, number: int, chance: random.Random) -> str:
        draw = chance.getrandbits(32)
        mission = _MISSIONS[draw % len(_MISSIONS)]
        kind = self._kind(number)
        if kind is not None:
            return kind[draw % len(kind)] % (mission, number)
        source = _SOURCES[(draw >> 8) % len(_SOURCES)]
        confidence = (draw >> 16) % _CONFIDENCES / (_CONFIDENCES - 1)
        return (
            f'{{"mission":"{mission}","source":"{source}","confidence":{confidence},"observation":{number},'
            f'"sensor":{{"id":{draw % 997},"orbit":"{draw:08x}"}}}}\n'
        )

    def _kind(self, number: int) -> tuple[str, ...] | None:
        """Say whether a record is one of those that are not good: as many before it as its share of all."""
        wrong = self.bad + self.malformed
        before = number * wrong // self.records
        if (number + 1) * wrong // self.records == before:
            return None
        is_malformed = (before + 1) * self.malformed // wrong > before * self.malformed // wrong
        return _MALFORMED if is_malformed else _BAD
