"""Redrives of all that failed, on state machines in memory."""

from typing import Any

from custody.audit.dead_letters import Filter, select
from custody.recovery.redrive import Redriver
from custody.recovery.redrive_plan import Redrive, choose_candidates
from tests.support.audit_files import audit_of
from tests.support.buckets import Buckets
from tests.support.bulk import CHUNK_BYTES
from tests.support.executions import Machine

FAST = 10_000.0


def redriver_on(buckets: Buckets, machine: Machine, chunk_bytes: int = CHUNK_BYTES) -> Redriver:
    return Redriver(audit_of(buckets), machine.pipeline(chunk_bytes), pause=0.001)


def plans_for(redriver: Redriver, **criteria: Any) -> list[Redrive]:
    redrives = choose_candidates(map(Redrive.of, select(redriver.audit, Filter(**criteria))))
    redriver.plan(redrives)
    return redrives
