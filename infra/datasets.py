"""The datasets that are deployed: each is a contract and a transform, and what is wrong with one stops the synth."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator, ValidationError

CONTRACTS = Path("functions/validate/contracts")
TRANSFORMS = Path("functions/transform/datasets")
CONTRACT = ".schema.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PERMITTED = Draft202012Validator(json.loads(Path(__file__).with_name("contract.schema.json").read_text("utf-8")))


class DatasetRefused(ValueError):
    """A dataset is not whole, or its contract is none; the message holds all that is wrong, a line each."""


def require_whole(root: Path) -> None:
    """Raise DatasetRefused unless each dataset below `root` has a contract and a transform, both of them sound."""
    if wrong := list(faults(root)):
        raise DatasetRefused("\n".join(["the datasets cannot be deployed:", *wrong]))


def faults(root: Path) -> Iterator[str]:
    """Say all that is wrong with the datasets: in which file, what, and what to do."""
    contracts = {path.name.removesuffix(CONTRACT): path for path in sorted((root / CONTRACTS).glob("*.json"))}
    transforms = {path.stem: path for path in sorted((root / TRANSFORMS).glob("*.py")) if path.stem != "__init__"}
    for name, path in contracts.items():
        if not path.name.endswith(CONTRACT):
            yield f"{CONTRACTS / path.name} is read by nobody: call it {path.stem}{CONTRACT}"
            continue
        if name not in transforms:
            yield f"the dataset {name} has a contract and no transform: add {TRANSFORMS / name}.py"
        yield from (f"{CONTRACTS / path.name}: {fault}" for fault in _of_contract(name, path.read_bytes()))
    for name, path in transforms.items():
        if name not in contracts:
            yield f"the dataset {name} has a transform and no contract: add {CONTRACTS / name}{CONTRACT}"
        yield from (f"{TRANSFORMS / path.name}: {fault}" for fault in _of_transform(path.read_bytes()))


def _of_contract(dataset: str, body: bytes) -> Iterator[str]:
    try:
        schema = json.loads(body)
    except ValueError as error:
        yield f"it is no JSON: {error}"
        return
    if not isinstance(schema, dict) or schema.get("$schema") != _DIALECT:
        yield f'it must be an object with "$schema": "{_DIALECT}"'
        return
    prefix = f"urn:custody:contract:{dataset}:"
    if not str(schema.get("$id", "")).removeprefix(prefix).isdecimal():
        yield f'its "$id" must be "{prefix}" and its version, a whole number'
    yield from _of_schema(schema)


def _of_schema(schema: Any) -> Iterator[str]:
    """Say what is wrong with a schema: what it may not say or, if there is nothing of that, why it cannot be used."""
    found = list(_PERMITTED.iter_errors(schema))
    # Of a schema with any other fault, it cannot be told which keywords there are.
    plain = [error for error in found if error.kind.name != "unevaluatedProperties"]
    if found:
        yield from map(_told, plain or _innermost(found))
        return
    try:
        Draft202012Validator(schema, validate_formats=True)
    except ValidationError as error:
        yield f"at {_pointer(error)}: {error.message}"


def _innermost(found: list[ValidationError]) -> list[ValidationError]:
    """Leave out the errors that only tell of one further inside."""
    paths = [tuple(error.instance_path) for error in found]
    return [
        error
        for error, own in zip(found, paths, strict=True)
        if not any(len(path) > len(own) and path[: len(own)] == own for path in paths)
    ]


def _told(error: ValidationError) -> str:
    said = error.kind.as_dict()
    if error.kind.name == "unevaluatedProperties":
        unknown = ", ".join(said["unexpected"])
        return f"at {_pointer(error)}: JSON Schema has no keyword {unknown}; an annotation of your own begins with x-"
    if error.kind.name == "enum":
        return f"at {_pointer(error)}: {json.dumps(error.instance)} is none of {', '.join(said['options'])}"
    return f"at {_pointer(error)}: {error.message}"


def _pointer(error: ValidationError) -> str:
    return "".join(f"/{part}" for part in error.instance_path) or "/"


def _of_transform(body: bytes) -> Iterator[str]:
    try:
        tree = ast.parse(body)
    except SyntaxError as error:
        yield f"it is no Python: {error.msg}, line {error.lineno}"
        return
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "transform"]
    if not functions or len(functions[0].args.args) != 1:
        yield "it has no function `transform(record)`"
