"""Which records keep their contract, and what each of the others breaks. No input or output happens here."""

from collections.abc import Iterable
from typing import Any

from jsonschema_rs import Draft202012Validator, ValidationError

from functions.shared.messages import Record, Rejected, Violation
from functions.shared.reading import Raw

STAGE = "validate"

_LIMIT_IS_THE_CONTRACTS = frozenset(
    {
        "const",
        "enum",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "multipleOf",
        "pattern",
        "required",
        "type",
    }
)
"""The rules whose limit comes from the contract alone; those of the others may quote the record."""


def check(raws: Iterable[Raw], validator: Draft202012Validator) -> tuple[tuple[Record, ...], tuple[Rejected, ...]]:
    """Part the records that keep the contract from those that do not; the latter with all that they break."""
    records: list[Record] = []
    rejected: list[Rejected] = []
    for raw in raws:
        violations = raw.violations or _violations(raw.document, validator)
        if violations:
            rejected.append(Rejected(raw.span, STAGE, violations))
        else:
            records.append(Record(raw.span, raw.document))
    return tuple(records), tuple(rejected)


def _violations(document: Any, validator: Draft202012Validator) -> tuple[Violation, ...]:
    if validator.is_valid(document):
        return ()
    found = [_violation(error) for error in validator.iter_errors(document)]
    return tuple(sorted(found, key=lambda violation: (violation.pointer, violation.rule, str(violation.limit))))


def _violation(error: ValidationError) -> Violation:
    rule = error.kind.name
    limit = error.kind.value if rule in _LIMIT_IS_THE_CONTRACTS else None
    if rule == "type" and isinstance(limit, list) and len(limit) == 1:
        limit = limit[0]
    return Violation(pointer(error.instance_path), rule, limit)


def pointer(path: Iterable[str | int]) -> str:
    """Write a path as a JSON Pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
