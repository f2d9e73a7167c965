"""State machines as Mermaid diagrams, which GitHub renders."""

from collections.abc import Iterator
from typing import Any

Definition = dict[str, Any]


def diagram(definition: Definition) -> str:
    """Draw a definition; the states of a Map stand inside it."""
    return "\n".join(["```mermaid", "stateDiagram-v2", *(f"    {line}" for line in _states(definition)), "```"])


def _states(definition: Definition) -> Iterator[str]:
    yield f"[*] --> {definition['StartAt']}"
    for name, state in definition["States"].items():
        if state["Type"] == "Map":
            yield f"state {name} {{"
            yield from (f"    {line}" for line in _states(state["ItemProcessor"]))
            yield "}"
        yield from _transitions(name, state)


def _transitions(name: str, state: Definition) -> Iterator[str]:
    if state.get("End"):
        yield f"{name} --> [*]"
    if "Next" in state:
        yield f"{name} --> {state['Next']}" + (": redrive" if name == "DeadLetter" else "")
    targets = [choice["Next"] for choice in state.get("Choices", [])]
    targets += [state["Default"]] if "Default" in state else []
    yield from (f"{name} --> {target}" for target in targets)
    yield from (
        f"{name} --> {target}: error" for target in dict.fromkeys(catch["Next"] for catch in state.get("Catch", []))
    )
