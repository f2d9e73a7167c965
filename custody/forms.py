"""The forms of what Custody writes into the audit bucket, so that nothing else is taken for it.

A form asks for the parts that are read here; there may be others. docs/architecture.md shows each file as a whole.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from functions.shared.messages import FORMAT

Form = Callable[[Any, str], None]
"""Raises AnotherForm for a value; the text is its name."""


class AnotherForm(ValueError):
    """A value is not of the form that Custody writes: which part, and what is wrong with it; never the value."""


def letter(body: Any, object_id: str, attempt: int) -> None:
    """Raise AnotherForm for anything but a letter of an object and attempt."""
    _LETTER(body, "the letter")
    _of(body, object_id, attempt)


def header(found: Any, object_id: str, attempt: int) -> None:
    """Raise AnotherForm for anything but the header of a ledger file that a step booked of an object and attempt."""
    booked_header(found)
    _of(found, object_id, attempt)


def booked_header(found: Any) -> None:
    """Raise AnotherForm for anything but the header of a ledger file that a step booked."""
    _BOOKED(found, "the header")


def discard_header(found: Any, object_id: str, attempt: int) -> None:
    """Raise AnotherForm for anything but the header of a ledger file by which an operator discards records."""
    _DISCARD(found, "the header")
    _of(found, object_id, attempt)


def lines(found: list[Any]) -> None:
    """Raise AnotherForm for anything but the lines of a ledger file."""
    for number, line in enumerate(found, 2):
        _line(line, f"line {number}")


def _of(found: Any, object_id: str, attempt: int) -> None:
    if found["object"]["id"] != object_id or found["attempt"] != attempt:
        raise AnotherForm("it tells of another object or attempt than its key")


def _text(value: Any, name: str) -> None:
    if not isinstance(value, str):
        raise AnotherForm(f"{name} is no text")


def _some_text(value: Any, name: str) -> None:
    _text(value, name)
    if not value:
        raise AnotherForm(f"{name} is empty")


def _count(value: Any, name: str) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise AnotherForm(f"{name} is no count")


def _known_format(value: Any, name: str) -> None:
    if value != FORMAT:
        raise AnotherForm(f"{name} is not {FORMAT}")


def _moment(value: Any, name: str) -> None:
    _text(value, name)
    try:
        zone = datetime.fromisoformat(value).tzinfo
    except ValueError:
        zone = None
    if zone is None:
        raise AnotherForm(f"{name} is no time with a zone")


def _execution(value: Any, name: str) -> None:
    _text(value, name)
    if not value.startswith("arn:") or ":execution:" not in value:
        raise AnotherForm(f"{name} is not the ARN of an execution")


def _versions(value: Any, name: str) -> None:
    """Ask for the code versions of stages, by stage."""
    if not isinstance(value, dict):
        raise AnotherForm(f"{name} is no object")
    for stage, version in value.items():
        _text(version, f"{name}.{stage}")


def _or_null(form: Form) -> Form:
    return lambda value, name: None if value is None else form(value, name)


def _each(form: Form) -> Form:
    def of_all(value: Any, name: str) -> None:
        if not isinstance(value, list):
            raise AnotherForm(f"{name} is no list")
        for number, each in enumerate(value):
            form(each, f"{name}[{number}]")

    return of_all


def _parts(forms: dict[str, Form], *, and_no_more: bool = False) -> Form:
    def of_parts(value: Any, name: str) -> None:
        if not isinstance(value, dict):
            raise AnotherForm(f"{name} is no object")
        if missing := forms.keys() - value.keys():
            raise AnotherForm(f"{name} has no {', '.join(sorted(missing))}")
        if and_no_more and value.keys() - forms.keys():
            raise AnotherForm(f"{name} has parts that are not known")
        for part, form in forms.items():
            form(value[part], f"{name}.{part}")

    return of_parts


def _anything(value: Any, name: str) -> None:
    del value, name


_SPAN: dict[str, Form] = {"position": _count, "offset": _count, "length": _count, "sha256": _text}
_VIOLATION = _parts({"pointer": _text, "rule": _text, "limit": _anything}, and_no_more=True)
_REJECTED = _SPAN | {"stage": _text, "violations": _each(_VIOLATION)}
_OBJECT: dict[str, Form] = dict.fromkeys(("id", "bucket", "key", "version_id"), _some_text)
_OBJECT |= {"size": _count, "etag": _text}
_HEAD: dict[str, Form] = {
    "format": _known_format,
    "object": _parts(_OBJECT, and_no_more=True),
    "chunk": _or_null(_count),
    "attempt": _count,
    "recorded_at": _moment,
}
_COUNTS: dict[str, Form] = {"received": _count, "written": _count, "rejected": _count}
_OUTPUT = _parts({"bucket": _some_text, "key": _some_text, "version_id": _some_text})

_LETTER = _parts(
    _HEAD
    | dict.fromkeys(("dataset", "step", "error", "cause", "advice"), _text)
    | {
        "contract": _or_null(_text),
        "code": _versions,
        "received": _or_null(_count),
        "rejected": _each(_parts({"record": _text} | _REJECTED)),
        "execution": _parts({"arn": _execution, "started_at": _moment, "console": _text}),
    }
)
_BOOKED = _parts(_HEAD | {"execution": _execution, "counts": _parts(_COUNTS), "output": _or_null(_OUTPUT)})
_DISCARD = _parts(
    _HEAD
    | {
        "counts": _or_null(_parts(_COUNTS | {"discarded": _count})),
        "discarded": _parts({"letter": _text, "reason": _text, "by": _text}),
    }
)
_LINES: dict[str, Form] = {
    "written": _parts(_SPAN | {"output": _parts({"offset": _count, "length": _count, "sha256": _text})}),
    "rejected": _parts(_REJECTED),
    "discarded": _parts(_SPAN),
}


def _line(value: Any, name: str) -> None:
    _parts({"outcome": _text})(value, name)
    if value["outcome"] not in _LINES:
        raise AnotherForm(f"{name}.outcome is not known")
    _LINES[value["outcome"]](value, name)
