"""Where MiniStack differs from AWS in a way that a pipeline would notice, by service."""

from local.patches import event_targets, tagged_log_groups
from local.patches.cloudformation import bucket_properties, function_properties
from local.patches.lambda_ import async_failures, error_names, event_sources, handler_environment, worker_queue
from local.patches.patch import PatchError, check_pin, module
from local.patches.s3 import object_bodies, requests
from local.patches.step_functions import ending, executions, history, map_children, map_runs, redrive, tasks

__all__ = ["PatchError", "apply", "module"]

# In this order: of two patches that wrap a function, the later one is called first, and only functions that are not
# wrapped yet can be changed.
_PATCHES = (
    error_names,
    handler_environment,
    async_failures,
    history,
    executions,
    redrive,
    map_children,
    tasks,
    ending,
    map_runs,
    object_bodies,
    requests,
    bucket_properties,
    function_properties,
    event_sources,
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
    worker_queue.apply(workers)
