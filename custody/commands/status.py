"""`custody status`: where Custody is deployed, and what is running, waiting or failed there."""

from msgspec import UNSET, Struct, UnsetType, to_builtins

from custody.deployment.queue_depth import depth
from custody.executions.pipeline import STATUSES
from custody.session import Session
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson

app = command_app()


class StatusDocument(Struct, frozen=True, rename={"start_dlq": "start-dlq", "dead_letter_dlq": "dead-letter-dlq"}):
    """Where Custody is deployed, the numbers of executions by status, and the numbers of events in the queues.

    `buffer` is missing without that queue. `more_executions` names the statuses that have more executions than counted.
    """

    target: str
    raw: str
    processed: str
    audit: str
    pipeline: str
    bulk: str
    executions: dict[str, int]
    start_dlq: int
    dead_letter_dlq: int
    more_executions: list[str]
    buffer: int | UnsetType = UNSET


@command(app, "custody status", "custody status --json", see="custody executions, docs/aws-cli.md")
def status(session: Session, *, as_json: AsJson = False) -> None:
    """Show the buckets, queues and state machines of a deployment, with counts of executions and waiting events."""
    deployment, sqs = session.deployment, session.target.client("sqs")
    counts = {state.lower(): session.pipeline.count(state) for state in STATUSES}
    buffer_url = deployment.buffer_url
    document = StatusDocument(
        target=session.target.name,
        raw=deployment.raw,
        processed=deployment.processed,
        audit=deployment.audit,
        pipeline=deployment.pipeline_arn,
        bulk=deployment.bulk_arn,
        executions={state: number for state, (number, _) in counts.items()},
        start_dlq=depth(sqs, deployment.start_dlq_url).total,
        dead_letter_dlq=depth(sqs, deployment.dead_letter_dlq_url).total,
        more_executions=[state for state, (_, is_more) in counts.items() if is_more],
        buffer=depth(sqs, buffer_url).total if buffer_url else UNSET,
    )
    if as_json:
        console.write_json(document)
        return
    executions = ", ".join(
        f"{number}{'+' if is_more else ''} {state.replace('_', ' ')}" for state, (number, is_more) in counts.items()
    )
    for name, value in (to_builtins(document) | {"executions": executions}).items():
        if name != "more_executions":
            console.print_line(f"{name:<16} {value}")
