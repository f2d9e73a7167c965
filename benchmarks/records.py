"""The input: JSON Lines of small mission records, of which a few are bad; the same bytes in every run."""

import json
from dataclasses import dataclass

KEY = "mission/benchmark.jsonl"
BAD_EVERY = 1000

_MISSIONS = ("Artemis", "Cassini", "Galileo", "Juno", "Rosetta", "Voyager")
_SOURCES = ("GEOINT", "HUMINT", "IMINT", "MASINT", "OSINT", "SIGINT")
_PATTERN = 1000


@dataclass(frozen=True, slots=True)
class Input:
    """An object of JSON Lines: its bytes, and its lines without their endings."""

    body: bytes
    lines: tuple[bytes, ...]

    @property
    def documents(self) -> tuple[bytes, ...]:
        """Give the lines that are JSON at all."""
        return tuple(line for line in self.lines if line.endswith(b"}"))


def made(records: int) -> Input:
    """Make an object of so many records: 64 bytes each on average, its line ending included, and 1 in 1,000 bad."""
    lines = tuple(_line(number) for number in range(records))
    return Input(b"".join(line + b"\n" for line in lines), lines)


def filling(size: int) -> bytes:
    """Make an object of as many whole records as have room in `size` bytes."""
    body = made(3 * _PATTERN).body
    return (body * (size // len(body) + 1))[:size].rpartition(b"\n")[0] + b"\n"


def _line(number: int) -> bytes:
    """Write a record. The bad ones break a rule, break two of them, or are cut off, in turn."""
    record = {
        "mission": f"{_MISSIONS[number % 6]} {number % 9973:06d}",
        "source": _SOURCES[number * 7 % 11 % 6],
        "confidence": number % 101 / 100,
    }
    if number % BAD_EVERY != BAD_EVERY // 2:
        return _compact(record)
    match number // BAD_EVERY % 3:
        case 0:
            return _compact(record | {"confidence": 1.5})
        case 1:
            return _compact(record | {"mission": " ", "source": "RUMINT"})
        case _:
            return _compact(record)[:-1]


def _compact(record: dict[str, object]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode()
