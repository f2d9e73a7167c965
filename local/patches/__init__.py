"""What MiniStack does differently from AWS and a pipeline would notice; one file a patch."""

from local.patches import tagged_log_groups
from local.patches.cloudformation import bucket_properties, custom_resources, other_properties
from local.patches.events import event_queues, event_targets, message_moves
from local.patches.lambda_ import async_failures, error_names, event_sources, handler_environment, worker_queue
from local.patches.patch import PatchError, check_pin, module
from local.patches.s3 import (
    bucket_events,
    listed_versions,
    missing_keys,
    object_bodies,
    object_encryption,
    ranged_reads,
    secure_transport,
)
from local.patches.step_functions.core import (
    context_object,
    definition_of_start,
    execution_end,
    execution_events,
    execution_order,
    machine_role,
    payload_limit,
    previous_events,
    retries,
    start_execution,
    throttled_tasks,
)
from local.patches.step_functions.map import branch_events, map_children, map_runs
from local.patches.step_functions.redrive import redrive, redriven_branches, redriven_states

__all__ = ["PatchError", "fill", "module"]

# Functions
_FUNCTIONS = (error_names, handler_environment, async_failures)
# State machines; the later of two that wrap the same function is asked first
_MACHINES = (
    previous_events,
    execution_order,
    definition_of_start,
    context_object,
    redrive,
    redriven_states,
    redriven_branches,
    branch_events,
    start_execution,
    throttled_tasks,
    retries,
    map_children,
    payload_limit,
    machine_role,
    execution_end,
    execution_events,
    map_runs,
)
# Everything else
_OTHERS = (
    ranged_reads,
    object_bodies,
    object_encryption,
    bucket_events,
    bucket_properties,
    other_properties,
    secure_transport,
    custom_resources,
    event_sources,
    event_targets,
    event_queues,
    message_moves,
    missing_keys,
    listed_versions,
    tagged_log_groups,
)


def fill(workers: int) -> None:
    """Fill every gap, before the server starts; `workers` bounds the processes of one function.

    Raises:
        PatchError: a gap does not fit the MiniStack that is installed.
    """
    check_pin()
    for patches in (*_FUNCTIONS, *_MACHINES, *_OTHERS):
        patches.fill()
    worker_queue.fill(workers)
