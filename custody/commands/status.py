"""`custody status`: where Custody is deployed, and what is running, waiting or failed there."""

from custody.deployment.queue_depth import depth
from custody.executions.pipeline import STATUSES
from custody.session import Session
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import AsJson, Aws, Env, Profile

app = command_app()


@command(app, "custody status", "custody status --json", see="custody executions, docs/aws-cli.md")
def status(*, env: Env = "dev", aws: Aws = False, profile: Profile = None, as_json: AsJson = False) -> None:
    """Show the buckets, queues and state machines of a deployment, with counts of executions and waiting events."""
    session = Session.open(env, aws=aws, profile=profile)
    deployment, sqs = session.deployment, session.target.client("sqs")
    counts = {state.lower(): session.pipeline.count(state) for state in STATUSES}
    queues = {"start-dlq": deployment.start_dlq_url, "dead-letter-dlq": deployment.dead_letter_dlq_url}
    if deployment.buffer_url:
        queues = {"buffer": deployment.buffer_url} | queues
    report = {
        "target": session.target.name,
        "raw": deployment.raw,
        "processed": deployment.processed,
        "audit": deployment.audit,
        "pipeline": deployment.pipeline_arn,
        "bulk": deployment.bulk_arn,
        "executions": {state: number for state, (number, _) in counts.items()},
    } | {name: depth(sqs, url).total for name, url in queues.items()}
    if as_json:
        # Counts stay numbers; the states that have even more executions are listed separately.
        more = {"more_executions": [state for state, (_, is_more) in counts.items() if is_more]}
        console.write_json(report | more)
        return
    executions = ", ".join(f"{number}{'+' if is_more else ''} {state}" for state, (number, is_more) in counts.items())
    for name, value in (report | {"executions": executions}).items():
        console.console.print(f"{name:<16} {value}", soft_wrap=True)
