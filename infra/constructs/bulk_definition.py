"""The definition of the bulk machine: its own states, and those of the pipeline for each chunk."""

import re
from collections.abc import Mapping
from typing import Any

Definition = dict[str, Any]

MAP = "ProcessChunks"
"""The state that processes the chunks; it is also its label, and so a part of the ARNs of their executions."""

OF_A_CHUNK = "Chunk"
"""What is put behind the name of a state: the names of a whole machine are unique. The functions take it off again."""

_LEFT_OUT = "Resume"
"""A chunk has no way on of its own: it is the execution of the object that is redriven."""


def compose(bulk: Definition, pipeline: Definition, *, chunk_concurrency: int) -> Definition:
    """Put the states of the pipeline into the bulk machine, to be run for `chunk_concurrency` chunks at a time.

    A chunk that is done answers `{}`, for the answers of all must fit into one state, and the ledger has it all. One
    that failed ends with its dead letter, whether or not the object was redriven.
    """
    processor = bulk["States"][MAP]["ItemProcessor"] | {
        "StartAt": f"{pipeline['StartAt']}{OF_A_CHUNK}",
        "States": {
            f"{name}{OF_A_CHUNK}": _of_a_chunk(state) for name, state in pipeline["States"].items() if name != _LEFT_OUT
        },
    }
    chunks = bulk["States"][MAP] | {"ItemProcessor": processor, "MaxConcurrency": chunk_concurrency}
    return bulk | {"States": bulk["States"] | {MAP: chunks}}


def placeholders(definition: str) -> list[str]:
    """List the names of what is to be filled into a definition, each as `${name}`."""
    return sorted(set(re.findall(r"\$\{(\w+)\}", definition)))


def _of_a_chunk(state: Definition) -> Definition:
    following = state.get("Next")
    if following == _LEFT_OUT:
        ends = {name: part for name, part in state.items() if name != "Next"}
        return ends | {"End": True, "Parameters": _without_a_way_on(state["Parameters"])}
    renamed = state | {"Catch": [caught | {"Next": f"{caught['Next']}{OF_A_CHUNK}"} for caught in state["Catch"]]}
    if following:
        return renamed | {"Next": f"{following}{OF_A_CHUNK}"}
    return renamed | {"OutputPath": None}


def _without_a_way_on(parameters: Mapping[str, Any]) -> Definition:
    payload = {name: part for name, part in parameters["Payload"].items() if name != "resumable"}
    return {**parameters, "Payload": payload}
