"""Divide records into those that satisfy their contract and those that violate it. Nothing is read or written here."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from jsonschema_rs import ValidationError

from functions.shared.model.records import Rejected, Violation, short_limit
from functions.shared.records.reader import Raw
from functions.validate.contracts import Contract

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
_EMPTY_NAME = re.compile(rb'""\s*:')
_MOST_VALUES = 20_000
"""Up to so many values, all violations of a record are looked for. The library collects them at up to 5 kB each."""

_MOST_COPIED = 500_000
"""Up to so many values, a violation is looked for. The library copies the record into the first, at up to 500 bytes a
value."""


def check(raws: Sequence[Raw], contract: Contract) -> tuple[list[Raw], list[Rejected]]:
    """Divide records into those that satisfy the contract, and the rejected with their violations."""
    is_valid = contract.validator.is_valid
    accepted = [raw for raw in raws if not raw.violations and is_valid(raw.document)]
    if len(accepted) == len(raws):
        return accepted, []
    kept = {raw.position for raw in accepted}
    return accepted, [_rejected(raw, contract) for raw in raws if raw.position not in kept]


def _rejected(raw: Raw, contract: Contract) -> Rejected:
    if raw.violations:
        return Rejected.at(raw.span, STAGE, raw.violations, len(raw.violations))
    # Every value but the outermost follows one of these.
    values = sum(map(raw.body.count, (b"[", b"{", b",")))
    if values >= _MOST_COPIED:
        return Rejected.at(raw.span, STAGE, [Violation("", "contract", "not kept; the rule is not named")], None)
    if values >= _MOST_VALUES:
        first = _first_error(raw.document, contract)
        return Rejected.at(raw.span, STAGE, [_violation(first, pointer(first.instance_path), contract)], None)
    errors = contract.validator.iter_errors(raw.document)
    places = _places_with_empty_names(raw, contract)
    violations = []
    for error in errors:
        place = pointer(error.instance_path)
        place = places.get((pointer(error.evaluation_path[:-1]), place), place)
        violations.append(_violation(error, place, contract))
    return Rejected.at(raw.span, STAGE, violations, len(violations))


def _first_error(document: Any, contract: Contract) -> ValidationError:
    try:
        contract.validator.validate(document)
    except ValidationError as error:
        return error
    raise AssertionError("a record that is not valid has an error")


def _places_with_empty_names(raw: Raw, contract: Contract) -> dict[tuple[str, str], str]:
    """Return the true pointer of each invalid value, by its schema and its pointer without empty property names.

    The library leaves such names out of the path of an error, but not out of its list of results.
    """
    if not _EMPTY_NAME.search(raw.body):
        return {}
    results = contract.validator.evaluate(raw.document).list()["details"]
    invalid = ((each["evaluationPath"], each["instanceLocation"]) for each in results if not each["valid"])
    return {(path, "".join(f"/{name}" for name in place.split("/") if name)): place for path, place in invalid}


def _violation(error: ValidationError, place: str, contract: Contract) -> Violation:
    rule = error.kind.name
    limit = _limit(error, contract) if rule in _LIMITED_BY_CONTRACT else None
    return Violation.short(place, rule, limit)


def _limit(error: ValidationError, contract: Contract) -> Any:
    """Return the limit of a rule, which is read once: the values of an `enum` may be many."""
    if error.kind.name == "required":  # whose limit is what the record lacks
        return error.kind.value
    rule = tuple(error.schema_path)
    if rule not in contract.limits:
        limit = error.kind.value
        if isinstance(limit, list) and len(limit) == 1 and error.kind.name == "type":
            limit = limit[0]
        contract.limits[rule] = short_limit(contract.patterns.get(limit, limit) if isinstance(limit, str) else limit)
    return contract.limits[rule]


def pointer(path: Iterable[str | int]) -> str:
    """Return a path as a JSON Pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
