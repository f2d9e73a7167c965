"""What MiniStack does differently from AWS and a pipeline would notice; one file a gap."""

from local.gaps import (
    async_failures,
    branch_events,
    bucket_events,
    bucket_properties,
    context_object,
    custom_resources,
    definition_of_start,
    error_names,
    event_queues,
    event_sources,
    event_targets,
    execution_end,
    execution_events,
    execution_order,
    handler_environment,
    listed_versions,
    machine_role,
    map_children,
    map_runs,
    message_moves,
    missing_keys,
    object_bodies,
    object_encryption,
    other_properties,
    payload_limit,
    previous_events,
    ranged_reads,
    redrive,
    redriven_branches,
    redriven_states,
    retries,
    secure_transport,
    start_execution,
    throttled_tasks,
    worker_queue,
)
from local.gaps.patch import GapError, check_pin, module

__all__ = ["GapError", "fill", "module"]

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
)


def fill(workers: int) -> None:
    """Fill every gap, before the server starts; `workers` bounds the processes of one function.

    Raises:
        GapError: a gap does not fit the MiniStack that is installed.
    """
    check_pin()
    for gap in (*_FUNCTIONS, *_MACHINES, *_OTHERS):
        gap.fill()
    worker_queue.fill(workers)
