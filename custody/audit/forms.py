"""The forms of what Custody writes into the audit bucket, so that nothing else is taken for it.

A form asks for the parts that are read here; there may be others. docs/architecture.md shows each file as a whole.
"""

import json
from collections.abc import Callable
from typing import Any

from jsonschema_rs import Draft202012Validator

from functions.shared.model.messages import FORMAT


class AnotherForm(ValueError):
    """A value is not of the form that Custody writes: which part, and which rule that breaks; never the value."""


def dead_letter(body: Any, object_id: str, attempt: int) -> None:
    """Raise AnotherForm for anything but a dead letter of an object and attempt."""
    _require(_DEAD_LETTER, body, "the dead letter")
    _of(body, object_id, attempt)


def header(found: Any, object_id: str, attempt: int) -> None:
    """Raise AnotherForm for anything but the header of a ledger file that a step committed of an object and attempt."""
    committed_header(found)
    _of(found, object_id, attempt)


def committed_header(found: Any) -> None:
    """Raise AnotherForm for anything but the header of a ledger file that a step committed."""
    _require(_BOOKED, found, "the header")


def summary_header(found: Any, object_id: str, attempt: int) -> None:
    """Raise AnotherForm for anything but the header of the summary of a bulk object and attempt."""
    _require(_SUMMARY, found, "the header")
    _of(found, object_id, attempt)


def discard_header(found: Any, object_id: str, attempt: int) -> None:
    """Raise AnotherForm for anything but the header of a ledger file by which an operator discards records."""
    _require(_DISCARD, found, "the header")
    _of(found, object_id, attempt)


def record_line(line: Any, name: str) -> None:
    """Raise AnotherForm for anything but the line of a record."""
    _require(_LINE, line, name)
    _require(_LINES[line["outcome"]], line, name)


def chunk_line(line: Any, name: str) -> None:
    """Raise AnotherForm for anything but the line of a chunk in a summary."""
    _require(_CHUNK_LINE, line, name)
    _require(_CHUNK_LINES[line["outcome"]], line, name)


def of_no_line(body: bytes, number: int, form: Callable[[Any, str], None]) -> ValueError:
    """Say what is wrong with a line that could not be read, and never its value."""
    name = f"line {number}"
    try:
        form(json.loads(body), name)
    except (AnotherForm, json.JSONDecodeError) as error:
        return error if isinstance(error, AnotherForm) else AnotherForm(f"{name} is no JSON: {error}")
    except (ValueError, RecursionError) as error:
        return AnotherForm(f"{name} cannot be read: {type(error).__name__}")
    return AnotherForm(f"{name} is of another form")


def _of(found: Any, object_id: str, attempt: int) -> None:
    if found["object"]["id"] != object_id or found["attempt"] != attempt:
        raise AnotherForm("it tells of another object or attempt than its key")


def _require(form: Draft202012Validator, value: Any, name: str) -> None:
    error = next(iter(form.iter_errors(value)), None)
    if error is not None:
        place = "".join(f"/{part}" for part in error.instance_path)
        missing = f" {error.kind.value}" if error.kind.name == "required" else ""
        raise AnotherForm(f"{name} is of another form: {place or '/'}: {error.kind.name}{missing}")


def _form(schema: dict[str, Any]) -> Draft202012Validator:
    return Draft202012Validator(schema, validate_formats=True)


def _parts(*others: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """Describe an object that has these parts, and those of the others."""
    known = {name: part for other in others for name, part in other["properties"].items()} | parts
    return {"type": "object", "required": sorted(known), "properties": known}


def _may_have(schema: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """Describe an object that may have these parts besides: what was written before they were known has none."""
    return schema | {"properties": schema["properties"] | parts}


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [{"type": "null"}, schema]}


_TEXT: dict[str, Any] = {"type": "string"}
_SOME_TEXT = {"type": "string", "minLength": 1}
_COUNT = {"type": "integer", "minimum": 0}
_MOMENT = {"type": "string", "format": "date-time"}
_EXECUTION = {"type": "string", "pattern": "^arn:.*:execution:"}

_SPAN = _parts(position=_COUNT, offset=_COUNT, length=_COUNT, sha256=_TEXT)
_VIOLATION = _parts(pointer=_TEXT, rule=_TEXT, limit=True) | {"additionalProperties": False}
_REJECTED = _parts(_SPAN, stage=_TEXT, violations={"type": "array", "items": _VIOLATION})
_OBJECT = _parts(id=_SOME_TEXT, bucket=_SOME_TEXT, key=_SOME_TEXT, version_id=_SOME_TEXT, size=_COUNT, etag=_TEXT) | {
    "additionalProperties": False
}
_CHUNK = _parts(start=_COUNT, bytes=_COUNT)
_HEAD = _parts(format={"const": FORMAT}, object=_OBJECT, chunk=_or_null(_CHUNK), attempt=_COUNT, recorded_at=_MOMENT)
_COUNTS = _parts(received=_COUNT, written=_COUNT, rejected=_COUNT)
_OUTPUT = _parts(bucket=_SOME_TEXT, key=_SOME_TEXT, version_id=_SOME_TEXT)

_DEAD_LETTER = _form(
    _may_have(
        _parts(
            _HEAD,
            dataset=_TEXT,
            step=_TEXT,
            error=_TEXT,
            cause=_TEXT,
            advice=_TEXT,
            contract=_or_null(_TEXT),
            code={"type": "object", "additionalProperties": _TEXT},
            received=_or_null(_COUNT),
            rejected={"type": "array", "items": _parts(_REJECTED, record=_TEXT)},
            execution=_parts(arn=_EXECUTION, started_at=_MOMENT, console=_TEXT),
        ),
        parent=_or_null(_EXECUTION),
        rejected_count=_or_null(_COUNT),
    )
)
_BOOKED = _form(
    _may_have(
        _parts(_HEAD, execution=_EXECUTION, counts=_COUNTS, output=_or_null(_OUTPUT)), parent=_or_null(_EXECUTION)
    )
)
_SUMMARY = _form(
    _parts(
        _HEAD,
        chunk={"type": "null"},
        execution=_EXECUTION,
        counts=_COUNTS,
        chunk_bytes={"type": "integer", "minimum": 1},
        chunks=_parts(total=_COUNT, committed=_COUNT, failed=_COUNT),
    )
)
_DISCARD = _form(
    _parts(
        _HEAD,
        counts=_or_null(_parts(_COUNTS, discarded=_COUNT)),
        discarded=_parts(dead_letter=_TEXT, reason=_TEXT, by=_TEXT),
    )
)
_LINES = {
    "written": _form(_parts(_SPAN, output=_parts(offset=_COUNT, length=_COUNT, sha256=_TEXT))),
    "rejected": _form(_REJECTED),
    "discarded": _form(_SPAN),
}
_LINE = _form(_parts(outcome={"enum": sorted(_LINES)}))
_CHUNK_LINES = {
    "committed": _form(
        _parts(start=_COUNT, attempt=_COUNT, counts=_COUNTS, execution=_EXECUTION, output=_or_null(_OUTPUT))
    ),
    "failed": _form(_may_have(_parts(start=_COUNT), attempt=_COUNT, counts=_COUNTS)),
}
_CHUNK_LINE = _form(_parts(outcome={"enum": sorted(_CHUNK_LINES)}))
