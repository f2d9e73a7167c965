"""What is wrong with a contract: what would be passed over in silence, and what could not be used."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from jsonschema_rs import Draft202012Validator, ValidationError

_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_RULES = json.loads(Path(__file__).with_name("contract.schema.json").read_text("utf-8"))
_PERMITTED = Draft202012Validator(_RULES, offline=True)

NESTING_LIMIT = 100
"""How deep a contract may nest: as deep as a record."""

_SCHEMA = (
    "additionalProperties",
    "contains",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_SCHEMAS = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
"""The keywords that hold a schema, an array of them, and some by name
(https://json-schema.org/draft/2020-12/json-schema-core#section-10)."""

Place = tuple[str, ...]
"""Where in a contract: the keys and indexes that lead there."""


def faults(dataset: str, body: bytes) -> Iterator[str]:
    """Say what is wrong with the contract of a dataset; the function reads it just so."""
    try:
        schema = json.loads(body.decode("utf-8"), object_pairs_hook=_each_key_once, parse_constant=_refuse)
    except ValueError as error:
        yield f"it is no JSON: {error}"
        return
    except RecursionError:
        schema = None
    if schema is None or _is_deeper(schema, NESTING_LIMIT):
        yield f"it is nested deeper than {NESTING_LIMIT} levels, and so deep no record may be"
        return
    if not isinstance(schema, dict) or schema.get("$schema") != _DIALECT:
        yield f'it must be an object with "$schema": "{_DIALECT}"'
        return
    prefix = f"urn:custody:contract:{dataset}:"
    if not re.fullmatch(f"{re.escape(prefix)}[0-9]+", str(schema.get("$id", ""))):
        yield f'its "$id" must be "{prefix}" and its version, a whole number'
    yield from dict.fromkeys(_of_schema(schema))


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"an object has the key {next(name for name in names if names.count(name) > 1)!r} twice")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _is_deeper(document: Any, limit: int) -> bool:
    level = [document]
    for _ in range(limit + 1):
        level = [child for each in level for child in _children(each)]
    return bool(level)


def _children(document: Any) -> list[Any]:
    if isinstance(document, dict):
        return list(document.values())
    return document if isinstance(document, list) else []


def _of_schema(schema: dict[str, Any]) -> Iterator[str]:
    """Say what is wrong with a schema: what it may not say or, if there is nothing of that, why it cannot be used."""
    found = list(_PERMITTED.iter_errors({name: said for name, said in schema.items() if name != "$schema"}))
    # Of a schema with any other fault, it cannot be told which keywords there are.
    plain = [error for error in found if error.kind.name != "unevaluatedProperties"]
    if found:
        yield from map(_told, plain or _innermost(found))
        return
    if lost := list(_lost(schema)):
        yield from lost
        return
    try:
        Draft202012Validator(schema, validate_formats=True, offline=True)
    except ValidationError as error:
        yield f"at {_pointer(error.instance_path)}: {error.message}"


def _innermost(found: list[ValidationError]) -> list[ValidationError]:
    """Leave out the errors that only tell of one further inside."""
    paths = [tuple(error.instance_path) for error in found]
    return [
        error
        for error, own in zip(found, paths, strict=True)
        if not any(len(path) > len(own) and path[: len(own)] == own for path in paths)
    ]


def _told(error: ValidationError) -> str:
    said, place = error.kind.as_dict(), _pointer(error.instance_path)
    if error.kind.name == "unevaluatedProperties":
        unknown = ", ".join(said["unexpected"])
        return f"at {place}: JSON Schema has no keyword {unknown}; an annotation of your own begins with x-"
    if error.kind.name == "enum":
        return f"at {place}: {json.dumps(error.instance)} is none of {', '.join(said['options'])}"
    if error.kind.name == "not":
        return f"at {place}: {_RULES['properties'][error.instance_path[-1]]['description']}"
    return f"at {place}: {error.message}"


def _pointer(path: Any) -> str:
    return "".join(f"/{part}" for part in path) or "/"


@dataclass(frozen=True, slots=True)
class _Part:
    """A schema within a contract; `above` are the URIs that it is under, each with the place of its `$id`."""

    place: Place
    schema: dict[str, Any]
    above: tuple[tuple[str, Place], ...]

    @property
    def base(self) -> str:
        return self.above[-1][0]


def _parts(schema: Any, place: Place = (), above: tuple[tuple[str, Place], ...] = (("", ()),)) -> Iterator[_Part]:
    """Give each schema of a contract, and nothing that only looks like one, as an annotation or a constant may."""
    own = schema if isinstance(schema, dict) else {}
    if "$id" in own:
        above = (*above, (_absolute(above[-1][0], own["$id"]), place))
    yield _Part(place, own, above)
    for name, said in own.items():
        if name in _SCHEMA:
            yield from _parts(said, (*place, name), above)
        elif name in _SCHEMAS:
            for number, each in enumerate(said):
                yield from _parts(each, (*place, name, str(number)), above)
        elif name in _NAMED:
            for key, each in said.items():
                yield from _parts(each, (*place, name, key), above)


def _lost(schema: dict[str, Any]) -> Iterator[str]:
    """Name the references that lead to no schema of the contract."""
    parts = list(_parts(schema))
    known = {uri for part in parts for uri in _names(part)}
    for part in parts:
        for name in ("$ref", "$dynamicRef"):
            if name in part.schema and _uri(part.base, part.schema[name]) not in known:
                place = _pointer((*part.place, name))
                yield f'at {place}: "{part.schema[name]}" leads to no schema in this file'


def _names(part: _Part) -> Iterator[tuple[str, str]]:
    """Give all that a schema can be referred to by: a URI, and a fragment of it."""
    for uri, root in part.above:
        yield uri, "".join(f"/{_escaped(each)}" for each in part.place[len(root) :])
    for name in ("$anchor", "$dynamicAnchor"):
        if name in part.schema:
            yield part.base, part.schema[name]


def _uri(base: str, reference: str) -> tuple[str, str]:
    uri, fragment = urldefrag(_absolute(base, reference))
    return uri, unquote(fragment)


def _absolute(base: str, reference: str) -> str:
    """Resolve a reference; `urljoin` does not know that a URN too can have a fragment."""
    return f"{base}{reference}" if reference.startswith("#") else urljoin(base, reference) if reference else base


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
