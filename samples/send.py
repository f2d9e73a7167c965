"""Send the samples to embedded AWS, one event twice, and show what became of each record."""

import json
import sys
from pathlib import Path

import local
from custody.deployment.target import FOLDER, Deployment, Target, find, on
from custody.errors import SOME_WITHOUT_OUTCOME
from custody.ingest.watch import Sent, Watcher
from custody.terminal import console
from custody.views import outcome as outcome_view

OBJECTS = Path(__file__).parent / "objects"
TWICE = "twice.json"
WAIT_SECONDS = 120
NEXT = """What to try next:
  .venv/bin/custody put samples/objects/two-violations.json     see both violations; exit code 3
  .venv/bin/custody put FILE.json --key mission/2026/FILE.json  send a record of your own
  .venv/bin/custody trace mission/lines.jsonl                   the story of an object; of a record, by its id
  .venv/bin/custody dead-letters                                     what failed, and is not settled
  .venv/bin/custody reconcile                                   what became of every object
  .venv/bin/custody --help                                      all commands
  make stop                                                     stop embedded AWS"""


def main() -> int:
    """Send, follow and show; the exit code is 0 if every record has an outcome."""
    instance = local.find(FOLDER)
    if instance is None:
        sys.exit("Embedded AWS is not up. Run `make run`.")
    target = on(instance)
    deployment = find(target, "dev")
    watcher = Watcher(target, deployment)
    sent = [watcher.send(file, f"mission/{file.name}") for file in sorted(OBJECTS.iterdir())]
    for one in sent:
        if one.raw.key.endswith(TWICE):
            _deliver_again(target, deployment, one)
    for one in sent:
        for _ in watcher.watch(one, WAIT_SECONDS):
            pass
    fates = [watcher.fate(one) for one in sent]
    outcome_view.outcomes(fates)
    console.console.print(NEXT, markup=False)
    return max((fate.code for fate in fates if fate.code == SOME_WITHOUT_OUTCOME), default=0)


def _deliver_again(target: Target, deployment: Deployment, sent: Sent) -> None:
    """Invoke `start` with an event that S3 delivers too: the second one must change nothing."""
    raw = sent.raw
    s3_object = {"key": raw.key, "size": raw.size, "eTag": raw.etag, "versionId": raw.version_id}
    event = {"Records": [{"s3": {"bucket": {"name": raw.bucket}, "object": s3_object}}]}
    target.client("lambda").invoke(
        FunctionName=deployment.start_function, InvocationType="Event", Payload=json.dumps(event)
    )


if __name__ == "__main__":
    sys.exit(main())
