"""The contract of each dataset: `datasets/<name>/contract.schema.json` (JSON Schema 2020-12)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from jsonschema_rs import Draft202012Validator, EmailOptions

from functions.shared.errors import UnknownDataset
from functions.shared.records.strict_json import decode

DATASETS = Path(__file__).parents[2] / "datasets"
CONTRACT = "contract.schema.json"
_MAILBOXES = EmailOptions(allow_display_text=False)
"""RFC 5321, Mailbox: an address without a display name."""
_WORD = "[0-9A-Za-z_]"
_ECMA = MappingProxyType(
    {
        ".": r"[^\n\r\u2028\u2029]",
        r"\b": f"(?:(?<={_WORD})(?!{_WORD})|(?<!{_WORD})(?={_WORD}))",
        r"\B": f"(?:(?<={_WORD})(?={_WORD})|(?<!{_WORD})(?!{_WORD}))",
        r"\<": "<",
        r"\>": ">",
    }
)
"""What the engine understands differently from ECMA-262, which JSON Schema prescribes, and how to say it there."""
_PART_OF_PATTERN = re.compile(r"\\.|\[(?:\\.|[^\]\\])*\]|\.", re.DOTALL)
_SCHEMAS_BY_NAME = frozenset({"$defs", "dependentSchemas", "patternProperties", "properties"})
_VALUES = frozenset({"const", "default", "enum", "examples"})


@dataclass(frozen=True, slots=True)
class Contract:
    """What a valid record of a dataset is; `id` is the `$id` of the schema and ends in its version.

    `patterns` are the patterns of the contract, by what the engine was given for each; `limits` those of rules that
    records have broken so far, by the place of the rule.
    """

    id: str
    validator: Draft202012Validator
    patterns: Mapping[str, str]
    limits: dict[tuple[str | int, ...], Any] = field(default_factory=dict)


def names() -> list[str]:
    """List the datasets that have a contract."""
    return sorted(path.parent.name for path in DATASETS.glob(f"*/{CONTRACT}"))


@cache
def load(dataset: str) -> Contract:
    """Read the contract of a dataset; raise UnknownDataset with the known ones if it has none."""
    if not dataset:
        raise UnknownDataset(
            "the key starts with a slash, so its first folder has no name; upload it without the slash"
        )
    if dataset not in names():
        raise UnknownDataset(f"the dataset {dataset!r} has no contract; known datasets: {', '.join(names())}")
    return parse((DATASETS / dataset / CONTRACT).read_bytes())


def parse(body: bytes) -> Contract:
    """Compile a contract; its numbers keep their digits, and its patterns mean what ECMA-262 says."""
    patterns: dict[str, str] = {}
    schema = _for_engine(decode(body), patterns)
    validator = Draft202012Validator(schema, validate_formats=True, email_options=_MAILBOXES, offline=True)
    return Contract(schema["$id"], validator, patterns)


def _for_engine(schema: Any, patterns: dict[str, str]) -> Any:
    """Rewrite the patterns of a schema for the engine, and collect the original of each."""

    def rewritten(pattern: str) -> str:
        ours = _PART_OF_PATTERN.sub(lambda part: _ECMA.get(part[0], part[0]), pattern)
        patterns[ours] = pattern
        return ours

    if isinstance(schema, list):
        return [_for_engine(each, patterns) for each in schema]
    if not isinstance(schema, dict):
        return schema
    result: dict[str, Any] = {}
    for keyword, value in schema.items():
        if keyword == "pattern":
            result[keyword] = rewritten(value)
        elif keyword in _SCHEMAS_BY_NAME:
            names = rewritten if keyword == "patternProperties" else str
            result[keyword] = {names(name): _for_engine(each, patterns) for name, each in value.items()}
        else:
            is_value = keyword in _VALUES or keyword.startswith("x-")
            result[keyword] = value if is_value else _for_engine(value, patterns)
    return result
