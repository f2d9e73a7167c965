"""An alternative to Custody: three functions with Powertools' parser, and JSON Lines in S3 between them.

It does what Custody does for a chunk that succeeds: it validates every line and reports all violations, transforms with
the same function, delivers, and writes a gzipped ledger with the hashes of each record's input and output and a dead
letter with the rejected records. It omits what a first version would omit: retries, redrives, duplicate keys, numbers
beyond a double, chunks, and objects larger than memory.
"""

import gzip
import json
from hashlib import sha256
from typing import Any, Literal

from aws_lambda_powertools.utilities.parser import parse
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from benchmarks.buckets import Buckets
from benchmarks.stages import timed
from datasets.mission.transform import transform as transform_mission

LEDGER_LEVEL = 6
"""The default of gzip, 9, takes longer and hardly saves a byte."""


class Mission(BaseModel):
    """An observation, as in the contract of the dataset; other fields are kept."""

    model_config = ConfigDict(extra="allow", strict=True)

    mission: str = Field(pattern=r"\S")
    source: Literal["GEOINT", "HUMINT", "IMINT", "MASINT", "OSINT", "SIGINT"]
    confidence: float = Field(ge=0, le=1)


def run(key: str, body: bytes, buckets: Buckets) -> dict[str, float]:
    """Process an object, and return the time of each function."""
    buckets.write("raw", key, body)
    return {step.__name__.title(): timed(step, key, buckets)[0] for step in (validate, transform, write)}


def validate(key: str, buckets: Buckets) -> None:
    """Validate every line, and collect all violations."""
    position = 0
    lines = []
    for line in buckets.body("raw", key).splitlines(keepends=True):
        text = line.rstrip(b"\r\n")
        if text:
            place = {"position": position, "length": len(text), "sha256": sha256(text).hexdigest()}
            lines.append(_dumps(place | _validated(text)))
        position += len(line)
    buckets.write("staging", f"{key}.validated", _joined(lines))


def _validated(text: bytes) -> dict[str, Any]:
    try:
        # It parses text in one pass too, although its annotations allow only dictionaries.
        return {"document": parse(event=text.decode(), model=Mission).model_dump()}  # type: ignore[call-overload]
    except ValidationError as error:
        return {"violations": error.errors(include_url=False, include_context=False, include_input=False)}
    except UnicodeDecodeError as error:
        return {"violations": [{"type": "utf-8", "msg": error.reason}]}


def transform(key: str, buckets: Buckets) -> None:
    """Transform every valid record."""
    lines = []
    for line in buckets.body("staging", f"{key}.validated").splitlines():
        record = json.loads(line)
        if "document" in record:
            record["document"] = transform_mission(record["document"])
        lines.append(_dumps(record))
    buckets.write("staging", f"{key}.transformed", _joined(lines))


def write(key: str, buckets: Buckets) -> None:
    """Deliver the accepted records, and write every record to the ledger."""
    delivered, ledger, rejected = [], [], []
    offset = 0
    for line in buckets.body("staging", f"{key}.transformed").splitlines():
        record = json.loads(line)
        document = record.pop("document", None)
        if document is None:
            rejected.append(record)
            ledger.append(_dumps(record | {"outcome": "rejected"}))
            continue
        text = _dumps(document)
        output = {"offset": offset, "length": len(text), "sha256": sha256(text).hexdigest()}
        ledger.append(_dumps(record | {"outcome": "written", "output": output}))
        delivered.append(text)
        offset += len(text) + 1
    buckets.write("processed", key, _joined(delivered))
    buckets.write("audit", f"dead-letters/{key}", _dumps(rejected))
    buckets.write("audit", f"ledger/{key}", gzip.compress(_joined(ledger), LEDGER_LEVEL))


def _dumps(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _joined(lines: list[bytes]) -> bytes:
    return b"".join(line + b"\n" for line in lines)
