"""Sample records of the mission dataset as JSON Lines, to try large objects with.

python -m samples.records 1000000 --bad 500 --malformed 500 > million.jsonl
"""

import argparse
import random
import sys
from collections.abc import Iterator

_SOURCES = ("GEOINT", "HUMINT", "IMINT", "MASINT", "OSINT", "SIGINT")
_MISSIONS = ("Dawn Patrol", "Harbour Watch", "Long Range", "Northern Light", "Quiet Field", "Space Weather")
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


def lines(records: int, bad: int = 0, malformed: int = 0) -> Iterator[str]:
    """Yield records, the same on every run; the bad (contract broken) and malformed (not JSON) are spread evenly."""
    chance = random.Random(0)  # noqa: S311 - sample data, not a secret
    invalid = bad + malformed
    for number in range(records):
        draw = chance.getrandbits(32)
        mission = _MISSIONS[draw % len(_MISSIONS)]
        seen = number * invalid // records
        if (number + 1) * invalid // records > seen:
            is_malformed = (seen + 1) * malformed // invalid > seen * malformed // invalid
            templates = _MALFORMED if is_malformed else _BAD
            yield templates[draw % len(templates)] % (mission, number)
            continue
        yield (
            f'{{"mission":"{mission}","source":"{_SOURCES[(draw >> 8) % len(_SOURCES)]}",'
            f'"confidence":{(draw >> 16) % 1001 / 1000},"observation":{number},'
            f'"sensor":{{"id":{draw % 997},"orbit":"{draw:08x}"}}}}\n'
        )


def main() -> None:
    """Write the records to standard output."""
    parser = argparse.ArgumentParser(description="Sample records of the mission dataset, as JSON Lines.")
    parser.add_argument("records", type=int)
    parser.add_argument("--bad", type=int, default=0, help="records that break the contract")
    parser.add_argument("--malformed", type=int, default=0, help="records that are not JSON")
    given = parser.parse_args()
    if given.bad + given.malformed > given.records:
        parser.error("--bad and --malformed together exceed the number of records")
    sys.stdout.writelines(lines(given.records, given.bad, given.malformed))


if __name__ == "__main__":
    main()
