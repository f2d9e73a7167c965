"""The input: JSON Lines of small mission records, a few of them invalid; the same bytes in every run."""

import json
from dataclasses import dataclass

KEY = "mission/benchmark.jsonl"
INVALID_EVERY = 1000

_MISSIONS = ("Artemis", "Cassini", "Galileo", "Juno", "Rosetta", "Voyager")
_SOURCES = ("GEOINT", "HUMINT", "IMINT", "MASINT", "OSINT", "SIGINT")


@dataclass(frozen=True, slots=True)
class Input:
    """A JSON Lines object: its bytes, and its lines without their endings."""

    body: bytes
    lines: tuple[bytes, ...]

    @property
    def documents(self) -> tuple[bytes, ...]:
        """The lines that are JSON."""
        return tuple(line for line in self.lines if line.endswith(b"}"))


def generate(records: int) -> Input:
    """Generate records of 64 bytes on average, including the line ending; 1 in 1,000 is invalid."""
    lines = tuple(_line(number) for number in range(records))
    return Input(b"".join(line + b"\n" for line in lines), lines)


def fill(size: int) -> bytes:
    """Generate as many whole records as fit into `size` bytes."""
    body = generate(3 * INVALID_EVERY).body
    return (body * (size // len(body) + 1))[:size].rpartition(b"\n")[0] + b"\n"


def nested(size: int) -> bytes:
    """Generate a line of up to `size` bytes that takes the most memory: one record of small objects, nested deep."""
    head = _compact({"mission": "a", "source": "OSINT", "confidence": 0, "x": []})[:-2]
    unit = b'{"":' * 95 + b"0" + b"}" * 95
    return head + b",".join([unit] * ((size - len(head) - 2) // (len(unit) + 1))) + b"]}"


def _line(number: int) -> bytes:
    """Encode a record. Invalid ones break one rule, break two rules, or are truncated, in turn."""
    record = {
        "mission": f"{_MISSIONS[number % 6]} {number % 9973:06d}",
        "source": _SOURCES[number * 7 % 11 % 6],
        "confidence": number % 101 / 100,
    }
    if number % INVALID_EVERY != INVALID_EVERY // 2:
        return _compact(record)
    match number // INVALID_EVERY % 3:
        case 0:
            return _compact(record | {"confidence": 1.5})
        case 1:
            return _compact(record | {"mission": " ", "source": "RUMINT"})
        case _:
            return _compact(record)[:-1]


def _compact(record: dict[str, object]) -> bytes:
    return json.dumps(record, separators=(",", ":")).encode()
