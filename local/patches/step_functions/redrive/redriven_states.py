"""A redriven execution goes on at the state at which it ended, with that state's own input.

A Task is scheduled again, a Choice is evaluated again, a Fail is entered again, and retries begin anew:
https://docs.aws.amazon.com/step-functions/latest/dg/redrive-executions.html#redrive-behavior-states. AWS does not say
whether a state that is scheduled again is entered again: here it is not, and `$$.State.EnteredTime` stays what it was.
A Wait for seconds waits all of them again.
"""

import copy
import json
from contextvars import ContextVar
from typing import Any

from local.patches.patch import change, member, module

# Whether the state about to be entered is the one that a redrive goes on at.
resuming: ContextVar[bool] = ContextVar("resuming_at_a_state", default=False)
# Which branch of a Parallel or a Map runs; empty outside of one.
path: ContextVar[str] = ContextVar("path_of_the_running_branch", default="")


def fill() -> None:
    """Note where an execution stands, and let it begin there."""
    machines = module("services.stepfunctions")
    for name in ("now_iso", "_add_event"):
        member(machines, name)
    change(
        machines,
        "_run_execution",
        {
            'definition.get("StartAt")': '_local_first(execution, definition.get("StartAt"))',
            '"variables": {},\n    }': (
                '"variables": {},\n    }\n    current_input = _local_given(execution, current_input, ctx)'
            ),
            'while current_name and execution["status"] == "RUNNING":': (
                "while _local_goes_on(execution, current_name, current_input, ctx):"
            ),
            '"EnteredTime": now_iso()': '"EnteredTime": execution["at"]["entered"]',
            '_add_event(execution, f"{state_type}StateEntered", {': (
                '_local_enter(execution, f"{state_type}StateEntered", {'
            ),
        },
        {"_local_first": _first, "_local_given": _given, "_local_goes_on": _goes_on, "_local_enter": _enter},
    )


def _first(execution: dict[str, Any], start: str | None) -> Any:
    """Name the state to begin at."""
    path.set("")
    resuming.set("at" in execution)
    return execution["at"]["name"] if "at" in execution else start


def _given(execution: dict[str, Any], given: Any, context: dict[str, Any]) -> Any:
    """Give the input of the first state; the variables are brought back as they were."""
    if not resuming.get():
        return given
    context["variables"] = copy.deepcopy(execution["at"]["variables"])
    return json.loads(execution["at"]["input"])


def _goes_on(execution: dict[str, Any], name: str | None, given: Any, context: dict[str, Any]) -> bool:
    """Whether there is a state to run; if so, note where the execution stands."""
    if "State" in context:
        resuming.set(False)
    if not name or execution["status"] != "RUNNING":
        return False
    if not resuming.get():
        execution["at"] = standing(name, given, context)
    return True


def standing(name: str, given: Any, context: dict[str, Any]) -> dict[str, Any]:
    """Note that a state is entered now, with what it takes to run it again."""
    entered = module("services.stepfunctions").now_iso()
    variables = copy.deepcopy(context["variables"])
    return {"name": name, "input": json.dumps(given), "variables": variables, "entered": entered}


def _enter(execution: dict[str, Any], kind: str, details: dict[str, Any]) -> None:
    """Enter a state in the history, but not one that is merely scheduled again."""
    if not resuming.get() or kind == "FailStateEntered":
        module("services.stepfunctions")._add_event(execution, kind, details)  # noqa: SLF001
