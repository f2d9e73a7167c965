"""The JSON Schemas of what commands print, and of ledger files and dead letters, from the Structs that encode them."""

import json
from collections.abc import Iterator
from inspect import cleandoc
from typing import Any

import msgspec

from custody.assurance.findings import VerifyDocument
from custody.assurance.reconcile import ReconcileDocument
from custody.audit.dead_letters import DeadLetterDocument, DeadLettersDocument
from custody.audit.trace import ObjectTrace, RecordTrace
from custody.commands.status import StatusDocument
from custody.deployment.destroy import DestroyReport
from custody.executions.listing import ExecutionsDocument
from custody.ingest.backfill import BackfillDocument
from custody.ingest.outcome import PutOutcomes, PutUploads
from custody.recovery.discard import DiscardDocument
from custody.recovery.redrive_plan import RedriveDocument
from functions.shared.model.ledger import ChunkLine, DeadLetter, DiscardHeader, LedgerHeader, RecordLine, SummaryHeader

FILES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "cli/backfill": ("custody backfill --json", (BackfillDocument,)),
    "cli/dead-letters": ("custody dead-letters --json", (DeadLettersDocument,)),
    "cli/dead-letters-discard": (
        "custody dead-letters discard --json",
        (DiscardDocument,),
    ),
    "cli/dead-letters-show": ("custody dead-letters show --json", (DeadLetterDocument,)),
    "cli/destroy": ("custody destroy --json", (DestroyReport,)),
    "cli/executions": ("custody executions --json", (ExecutionsDocument,)),
    "cli/put": ("custody put --json", (PutOutcomes, PutUploads)),
    "cli/reconcile": ("custody reconcile --json", (ReconcileDocument,)),
    "cli/redrive": ("custody redrive --json", (RedriveDocument,)),
    "cli/status": ("custody status --json", (StatusDocument,)),
    "cli/trace": ("custody trace --json", (ObjectTrace, RecordTrace)),
    "cli/verify": ("custody verify --json", (VerifyDocument,)),
    "audit/dead-letter": ("A dead letter", (DeadLetter,)),
    "audit/ledger-line": (
        "A line of a ledger file: first its header",
        (LedgerHeader, SummaryHeader, DiscardHeader, RecordLine, ChunkLine),
    ),
}
"""The title of each schema in docs/, and the documents that it allows."""


def schemas() -> dict[str, str]:
    """Write each schema, by its path in docs/ without the suffix."""
    return {path: json.dumps(_schema(*file), indent=2, ensure_ascii=False) + "\n" for path, file in FILES.items()}


def _schema(title: str, documents: tuple[Any, ...]) -> dict[str, Any]:
    allowed, parts = msgspec.json.schema_components(documents)
    structs = {struct.__name__: struct for struct in _structs(msgspec.Struct)}
    for name, part in parts.items():
        part.pop("title")
        part |= {"description": " ".join(cleandoc(part["description"]).split())}
        if "properties" in part:
            part["additionalProperties"] = False
            part["required"] = [each for each in part["properties"] if each not in _optional(structs[name])]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        **(allowed[0] if len(allowed) == 1 else {"anyOf": list(allowed)}),
        "$defs": parts,
    }


def _optional(struct: type[msgspec.Struct]) -> set[str]:
    """Name the fields that may be missing: a default is written too, unless it is UNSET or defaults are omitted."""
    omitted = (msgspec.UNSET, *([None] if struct.__struct_config__.omit_defaults else []))
    return {field.encode_name for field in msgspec.structs.fields(struct) if field.default in omitted}


def _structs(kind: type[msgspec.Struct]) -> Iterator[type[msgspec.Struct]]:
    for struct in kind.__subclasses__():
        yield struct
        yield from _structs(struct)
