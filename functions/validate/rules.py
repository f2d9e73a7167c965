"""Divide records into those that satisfy their contract and those that violate it. Nothing is read or written here."""

from collections.abc import Iterable, Sequence
from typing import Any

from jsonschema_rs import Draft202012Validator, ValidationError

from functions.shared.model.records import Rejected, Violation
from functions.shared.records.reader import Raw

STAGE = "validate"

_LIMITED_BY_CONTRACT = frozenset(
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
"""The rules whose limit comes from the contract alone; other limits may quote the record."""


def check(raws: Sequence[Raw], validator: Draft202012Validator) -> tuple[list[Raw], list[Rejected]]:
    """Divide records into those that satisfy the contract, and the rejected with all their violations."""
    is_valid = validator.is_valid
    accepted = [raw for raw in raws if not raw.violations and is_valid(raw.document)]
    if len(accepted) == len(raws):
        return accepted, []
    kept = {raw.position for raw in accepted}
    return accepted, [_rejected(raw, validator) for raw in raws if raw.position not in kept]


def _rejected(raw: Raw, validator: Draft202012Validator) -> Rejected:
    return Rejected.at(raw.span, STAGE, raw.violations or _violations(raw.document, validator))


def _violations(document: Any, validator: Draft202012Validator) -> tuple[Violation, ...]:
    violations = [_violation(error) for error in validator.iter_errors(document)]
    return tuple(sorted(violations, key=lambda violation: (violation.pointer, violation.rule, str(violation.limit))))


def _violation(error: ValidationError) -> Violation:
    rule = error.kind.name
    limit = error.kind.value if rule in _LIMITED_BY_CONTRACT else None
    if rule == "type" and isinstance(limit, list) and len(limit) == 1:
        limit = limit[0]
    return Violation(pointer(error.instance_path), rule, limit)


def pointer(path: Iterable[str | int]) -> str:
    """Return a path as a JSON Pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
