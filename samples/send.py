"""Send the samples to embedded AWS, one event twice, and show the outcome of each record."""

import json
import sys
from pathlib import Path

import local
from custody.deployment.target import FOLDER
from custody.errors import SOME_WITHOUT_OUTCOME
from custody.ingest.outcome import Tally, UploadedFile
from custody.ingest.watch import Watcher
from custody.session import Session
from custody.terminal import console
from custody.views import put as put_view

OBJECTS = Path(__file__).parent / "objects"
TWICE = "twice.json"
TIMEOUT_SECONDS = 120
NEXT = """What to try next:
  .venv/bin/custody put samples/objects/two-violations.json     see both violations; exit code 3
  .venv/bin/custody put FILE.json --key mission/2026/FILE.json  send a record of your own
  .venv/bin/custody trace mission/lines.jsonl                   follow an object; or a record, by its id
  .venv/bin/custody dead-letters                                list open dead letters
  .venv/bin/custody reconcile                                   classify every object
  .venv/bin/custody --help                                      list all commands
  make stop                                                     stop embedded AWS"""


def main() -> int:
    """Upload, watch and show; the exit code is 0 if every record has an outcome."""
    if local.find(FOLDER) is None:
        sys.exit("Embedded AWS is not running. Run `make run`.")
    session = Session()
    watcher = Watcher(session)
    uploads = [watcher.upload(file, f"mission/{file.name}") for file in sorted(OBJECTS.iterdir())]
    for upload in uploads:
        if upload.object.key.endswith(TWICE):
            _repeat_event(session, upload)
    for upload in uploads:
        for _ in watcher.watch(upload, TIMEOUT_SECONDS):
            pass
    outcomes = [watcher.outcome(upload) for upload in uploads]
    put_view.outcomes(Tally.of(outcomes))
    for line in NEXT.splitlines():
        console.print_line(line)
    return SOME_WITHOUT_OUTCOME if any(outcome.code == SOME_WITHOUT_OUTCOME for outcome in outcomes) else 0


def _repeat_event(session: Session, upload: UploadedFile) -> None:
    """Invoke `start` with the event that S3 delivers too: the duplicate must start nothing."""
    raw = upload.object
    s3_object = {"key": raw.key, "size": raw.size, "eTag": raw.etag, "versionId": raw.version_id}
    event = {"Records": [{"s3": {"bucket": {"name": raw.bucket}, "object": s3_object}}]}
    session.target.client("lambda").invoke(
        FunctionName=session.deployment.start_function, InvocationType="Event", Payload=json.dumps(event)
    )


if __name__ == "__main__":
    sys.exit(main())
