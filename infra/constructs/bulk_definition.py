"""The definition of the bulk machine: its own states, and those of the pipeline for each chunk."""

from collections.abc import Mapping
from typing import Any

Definition = dict[str, Any]

MAP = "ProcessChunks"
"""The state that processes the chunks; also its label, and so part of the ARNs of their executions."""

OF_A_CHUNK = "Chunk"
"""The suffix of the states of a chunk, as names are unique within a machine. The functions remove it."""

_LEFT_OUT = "Resume"
"""The state that chunks do not have: a redrive is always of the object's execution."""


def compose(bulk: Definition, pipeline: Definition, *, chunk_concurrency: int) -> Definition:
    """Insert the states of the pipeline into the bulk machine, to run for `chunk_concurrency` chunks at a time.

    A successful chunk outputs `{}`: the outputs of all must fit into one state, and the ledger has everything. A failed
    one ends with its dead letter, even after a redrive of the object.
    """
    processor = bulk["States"][MAP]["ItemProcessor"] | {
        "StartAt": f"{pipeline['StartAt']}{OF_A_CHUNK}",
        "States": {
            f"{name}{OF_A_CHUNK}": _for_chunk(state) for name, state in pipeline["States"].items() if name != _LEFT_OUT
        },
    }
    chunks = bulk["States"][MAP] | {"ItemProcessor": processor, "MaxConcurrency": chunk_concurrency}
    return bulk | {"States": bulk["States"] | {MAP: chunks}}


def _for_chunk(state: Definition) -> Definition:
    following = state.get("Next")
    if following == _LEFT_OUT:
        ends = {name: part for name, part in state.items() if name != "Next"}
        return ends | {"End": True, "Parameters": _not_resumable(state["Parameters"])}
    renamed = state | {"Catch": [catch | {"Next": f"{catch['Next']}{OF_A_CHUNK}"} for catch in state["Catch"]]}
    if following:
        return renamed | {"Next": f"{following}{OF_A_CHUNK}"}
    return renamed | {"OutputPath": None}


def _not_resumable(parameters: Mapping[str, Any]) -> Definition:
    payload = {name: part for name, part in parameters["Payload"].items() if name != "resumable"}
    return {**parameters, "Payload": payload}
