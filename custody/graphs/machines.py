"""A state machine as a picture needs it: its states, what leads from one to another, and what stands inside of one.

https://docs.aws.amazon.com/step-functions/latest/dg/statemachine-structure.html
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

Asl = dict[str, Any]

ELSE = "else"
"""When the default of a Choice is taken."""

_ANY = "States.ALL"
_ANY_ERROR = "any error"
_OF_A_TYPE = re.compile(
    r"(String|Numeric|Boolean|Timestamp)?(?P<name>GreaterThanEquals|LessThanEquals|Equals|GreaterThan|LessThan"
    r"|Matches|Is\w+)(?P<path>Path)?"
)
_SIGNS = {
    "Equals": "=",
    "GreaterThan": ">",
    "LessThan": "<",
    "GreaterThanEquals": ">=",
    "LessThanEquals": "<=",
    "Matches": "like",
}
_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")


@dataclass(frozen=True)
class Transition:
    """One way between two states of a scope: `is_catch` if it is taken on an error.

    `when` says in a few words when it is taken, empty for always.
    """

    source: str
    target: str
    when: str = ""
    is_catch: bool = False


@dataclass(frozen=True)
class State:
    """A state; `scopes` are the branches of a Parallel, or what a Map does with each item.

    `is_end` says that the execution, the branch or the item may end behind it. Whatever a distributed Map holds runs in
    executions of its own.
    """

    name: str
    kind: str
    comment: str
    transitions: tuple[Transition, ...]
    scopes: tuple["Scope", ...] = ()
    is_end: bool = False
    is_distributed: bool = False


@dataclass(frozen=True)
class Scope:
    """States that lead to one another: those of a machine, of a branch, or of a Map; in the order of the definition."""

    start: str
    states: tuple[State, ...]

    def walk(self) -> Iterator[State]:
        """Give each state, and those inside of it."""
        for state in self.states:
            yield state
            for scope in state.scopes:
                yield from scope.walk()

    def scopes(self) -> Iterator["Scope"]:
        """Give this scope, and those inside of it."""
        yield self
        for state in self.states:
            for scope in state.scopes:
                yield from scope.scopes()


@dataclass(frozen=True)
class Machine:
    """A state machine, with the name and the comment that stand above its picture."""

    name: str
    comment: str
    scope: Scope

    @classmethod
    def read(cls, name: str, definition: Asl) -> Self:
        """Read a definition in the Amazon States Language, of either query language."""
        return cls(name, definition.get("Comment", ""), _scope(definition))


def _scope(asl: Asl) -> Scope:
    return Scope(asl["StartAt"], tuple(_state(name, each) for name, each in asl["States"].items()))


def _state(name: str, asl: Asl) -> State:
    # A Map of an older definition has an Iterator.
    inner = asl.get("ItemProcessor") or asl.get("Iterator")
    scopes = [*asl.get("Branches", []), *([inner] if inner else [])]
    return State(
        name,
        asl["Type"],
        asl.get("Comment", ""),
        tuple(_merged(_transitions(name, asl))),
        tuple(map(_scope, scopes)),
        bool(asl.get("End")),
        (inner or {}).get("ProcessorConfig", {}).get("Mode") == "DISTRIBUTED",
    )


def _transitions(name: str, asl: Asl) -> Iterator[Transition]:
    if "Next" in asl:
        yield Transition(name, asl["Next"])
    for rule in asl.get("Choices", []):
        yield Transition(name, rule["Next"], _condition(rule))
    if "Default" in asl:
        yield Transition(name, asl["Default"], ELSE)
    for caught in asl.get("Catch", []):
        yield Transition(name, caught["Next"], _errors(caught["ErrorEquals"]), is_catch=True)


def _merged(transitions: Iterable[Transition]) -> Iterator[Transition]:
    """Make one of those that lead to the same state in the same way."""
    groups: dict[tuple[str, bool], list[str]] = {}
    source = ""
    for each in transitions:
        source = each.source
        groups.setdefault((each.target, each.is_catch), []).append(each.when)
    for (target, is_catch), whens in groups.items():
        when = _ANY_ERROR if _ANY_ERROR in whens else " or ".join(dict.fromkeys(filter(None, whens)))
        yield Transition(source, target, when, is_catch)


def _errors(names: list[str]) -> str:
    return _ANY_ERROR if _ANY in names else " or ".join(names)


def _condition(rule: Asl) -> str:
    """Say in a few words what a rule of a Choice asks."""
    if isinstance(written := rule.get("Condition"), str):
        return written.removeprefix("{%").removesuffix("%}").strip()
    for name, joint in (("And", " and "), ("Or", " or ")):
        if name in rule:
            return joint.join(_condition(each) for each in rule[name])
    if "Not" in rule:
        return f"not ({_condition(rule['Not'])})"
    variable = str(rule.get("Variable", "")).removeprefix("$.")
    asked = next((name for name in rule if name not in {"Variable", "Next", "Comment", "Assign", "Output"}), "")
    value = rule.get(asked)
    found = _OF_A_TYPE.fullmatch(asked)
    words = _CAPITAL.sub(" ", asked).lower()
    if found is None:
        return f"{variable} {words} {_shown(value)}".strip()
    if found["name"].startswith("Is") and not found["path"]:
        return f"{variable} {words}" if value else f"not ({variable} {words})"
    shown = value.removeprefix("$.") if found["path"] and isinstance(value, str) else _shown(value)
    return f"{variable} {_SIGNS.get(found['name'], words)} {shown}"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and value.isidentifier() else json.dumps(value, ensure_ascii=False)
