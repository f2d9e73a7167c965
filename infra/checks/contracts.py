"""Faults of a contract: what JSON Schema would ignore without a word, and what could not be used."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator, ValidationError

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_RULES = json.loads(Path(__file__).with_name("contract.schema.json").read_text("utf-8"))
_META_SCHEMA = Draft202012Validator(_RULES, validate_formats=True, offline=True)


def faults(dataset: str, body: bytes) -> Iterator[str]:
    """Describe each fault of the contract of a dataset; Validate parses the same bytes."""
    try:
        schema = json.loads(body.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_refuse)
    except ValueError as error:
        yield f"it is not JSON: {error}"
        return
    except RecursionError:
        yield "it is nested too deeply"
        return
    if not isinstance(schema, dict) or schema.get("$schema") != _DIALECT:
        yield f'it must be an object with "$schema": "{_DIALECT}"'
        return
    prefix = f"urn:custody:contract:{dataset}:"
    if not re.fullmatch(f"{re.escape(prefix)}[0-9]+", str(schema.get("$id", ""))):
        yield f'its "$id" must be "{prefix}" followed by its version, a whole number'
    yield from dict.fromkeys(_faults_of_schema(schema))


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if duplicate := next((key for key in keys if keys.count(key) > 1), None):
        raise ValueError(f"an object has the key {duplicate!r} twice")
    return dict(pairs)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a number")


def _faults_of_schema(schema: dict[str, Any]) -> Iterator[str]:
    """Apply our meta-schema, then compile as Validate does, which resolves every reference and fetches none."""
    try:
        errors = list(_META_SCHEMA.iter_errors({key: value for key, value in schema.items() if key != "$schema"}))
        if not errors:
            Draft202012Validator(schema, validate_formats=True, offline=True)
    except ValidationError as error:
        if error.kind.name == "format":  # the meta-schema has accepted the pattern
            yield f"the pattern {error.instance} cannot be compiled: it is too large, or uses what the engine lacks"
            return
        errors = [error]
    except ValueError as error:  # the library's limit of recursion
        yield f"it is nested too deeply: {error}"
        return
    # A schema with any other fault has all its keywords reported as unevaluated, and so has every schema around it.
    others = [error for error in errors if error.kind.name != "unevaluatedProperties"]
    depth = max((len(error.instance_path) for error in errors), default=0)
    yield from map(_description, others or [error for error in errors if len(error.instance_path) == depth])


def _description(error: ValidationError) -> str:
    place = "".join(f"/{part}" for part in error.instance_path) or "/"
    kind = error.kind.as_dict()
    if error.kind.name == "unevaluatedProperties":
        unknown = ", ".join(kind["unexpected"])
        return f"at {place}: JSON Schema has no keyword {unknown}; an annotation of your own starts with x-"
    if error.kind.name == "enum":
        return f"at {place}: {json.dumps(error.instance)} is not one of {', '.join(kind['options'])}"
    if error.kind.name == "not":
        return f"at {place}: {_RULES['properties'][error.instance_path[-1]]['description']}"
    if error.kind.name == "propertyNames":  # of patternProperties
        error = kind["error"]
    if error.kind.name == "format":
        return f"at {place}: {error.instance} is not a regular expression of ECMA-262, which JSON Schema prescribes"
    return f"at {place}: {error.message}"
