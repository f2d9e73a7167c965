"""The states of a branch, an iteration or a child are entered and exited in the history.

MiniStack tells only of their Tasks:
https://docs.aws.amazon.com/step-functions/latest/apireference/API_HistoryEvent.html
"""

import json
from collections.abc import Callable
from typing import Any

from local.patches.patch import change, member, module

_STATE = 'ctx["State"] = _local_state(execution, current_name, current_input, ctx)'
_SUCCEED = """return _apply_output_path(state_def,
                                      _apply_input_path(state_def, current_input, ctx), ctx)"""


def fill() -> None:
    """Tell of each state before and after it runs; one that a redrive goes on at is not entered again."""
    machines = module("services.stepfunctions")
    member(machines, "_add_event")
    entered = '{"stateEnteredEventDetails": {"name": current_name, "input": json.dumps(current_input)}}'
    change(
        machines,
        "_run_sub_machine",
        {
            _STATE: f'{_STATE}\n        _local_enter(execution, f"{{state_type}}StateEntered", {entered})',
            _SUCCEED: (
                "current_input = _apply_input_path(state_def, current_input, ctx)\n"
                "            return _local_exit(execution, state_type, current_name, "
                "_apply_output_path(state_def, current_input, ctx))"
            ),
            "}.get(state_type)": (
                "}.get(state_type)\n"
                "        handler_fn = _local_exiting(handler_fn, execution, state_type, current_name)"
            ),
        },
        {"_local_exit": _exit, "_local_exiting": _exiting},
    )


def _exiting(
    run: Callable[..., Any] | None, execution: dict[str, Any], kind: str, name: str
) -> Callable[..., Any] | None:
    """Let what runs a state tell of its exit."""
    if run is None:
        return None

    def exited(*given: Any) -> Any:
        output, following = run(*given)
        return _exit(execution, kind, name, output), following

    return exited


def _exit(execution: dict[str, Any], kind: str, name: str, output: Any) -> Any:
    details = {"stateExitedEventDetails": {"name": name, "output": json.dumps(output)}}
    module("services.stepfunctions")._add_event(execution, f"{kind}StateExited", details)  # noqa: SLF001
    return output
