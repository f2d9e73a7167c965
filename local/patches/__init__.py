"""Where MiniStack differs from AWS in a way that a pipeline would notice, by service."""

from local.patches import event_targets, s3, tagged_log_groups, templates
from local.patches.lambda_ import destinations, worker, worker_queue
from local.patches.patch import PatchError, check_pin, module
from local.patches.step_functions import executions, map_runs, redrive, status_events, tasks

__all__ = ["PatchError", "apply", "module"]

# In this order: of two patches that wrap a function, the later one is called first, and only functions that are not
# wrapped yet can be changed.
_PATCHES = (
    executions,
    redrive,
    tasks,
    status_events,
    worker,
    destinations,
    s3,
    templates,
    event_targets,
    tagged_log_groups,
)


def apply(workers: int) -> None:
    """Apply every patch, before the server starts; `workers` bounds the processes of each function.

    Raises:
        PatchError: a patch does not fit the installed MiniStack.
    """
    check_pin()
    for patch in _PATCHES:
        patch.apply()
    for patch in (worker_queue, map_runs):
        patch.apply(workers)
