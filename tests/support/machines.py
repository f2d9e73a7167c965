"""The definitions of the state machines: from their files, and the bulk machine as composed."""

import json

from infra.app import ROOT
from infra.constructs.bulk_definition import MAP, compose

FILES = {name: ROOT / "statemachine" / f"{name}.asl.json" for name in ("pipeline", "bulk")}
PIPELINE, FILE_OF_BULK = (json.loads(file.read_text()) for file in FILES.values())
BULK = compose(FILE_OF_BULK, PIPELINE, chunk_concurrency=100)
OF_CHUNKS = BULK["States"][MAP]["ItemProcessor"]
