"""`custody put`: upload files, watch their executions, and show the outcome of every record."""

from pathlib import Path
from shlex import quote
from threading import Lock
from typing import Annotated

import typer

from custody.deployment.target import Deployment
from custody.errors import ALL_WRITTEN, SOME_REJECTED, SOME_WITHOUT_OUTCOME, USAGE, CommandFailed
from custody.ingest.outcome import LISTED, FileOutcome, PutOutcomes, PutUploads, UploadedFile
from custody.ingest.watch import ExecutionProgress, Watcher
from custody.session import Session
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import NoWait, Patience
from custody.terminal.text import visible
from custody.views import put as put_view

app = command_app()


@command(
    app,
    "custody put samples/objects/good.json",
    "custody put samples/objects/good.json --key mission/2026/good.json",
    "custody put samples/objects/lines.jsonl --no-wait --json",
    see="custody trace, custody dead-letters",
)
def put(
    session: Session,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="The files to upload to the raw bucket.")],
    *,
    key: Annotated[str | None, typer.Option(help="The whole key. Default: the name of the file.")] = None,
    no_wait: NoWait = False,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help=f"Print one JSON document. For an object of more than {LISTED:,} records it lists the first "
            f"{LISTED:,} rejected ones; `counts` and `records_more` cover all.",
        ),
    ] = False,
    timeout: Patience = 600,
) -> None:
    """Upload files to the raw bucket, and show each record's outcome; for many, counts and the first rejected ones.

    Exit code 0: all records were written. 3: every record has an outcome, and some were rejected. 1: some have none.
    2: incorrect usage.
    """
    _require_files(files, key)
    keys = [_key(session.deployment, file, key) for file in files]
    watcher = Watcher(session)
    try:
        uploads = [_upload(watcher, file, name) for file, name in zip(files, keys, strict=True)]
        for upload in [] if no_wait else uploads:
            _watch(watcher, upload, timeout)
        outcomes = [] if no_wait else [_read_outcome(watcher, upload) for upload in uploads]
    except BaseException:
        put_view.warn_of_arrived(watcher.arrived)
        raise
    if as_json:
        console.write_json(PutUploads(uploads) if no_wait else PutOutcomes(outcomes))
    elif no_wait:
        put_view.uploads(uploads)
    else:
        put_view.outcomes(outcomes)
    put_view.warn_of_unfinished(outcomes, timeout)
    codes = {outcome.code for outcome in outcomes}
    raise typer.Exit(next((code for code in (SOME_WITHOUT_OUTCOME, SOME_REJECTED) if code in codes), ALL_WRITTEN))


def _upload(watcher: Watcher, file: Path, key: str) -> UploadedFile:
    size, lock = file.stat().st_size, Lock()
    sent = 0

    def advance(number: int) -> None:
        nonlocal sent
        with lock:
            sent += number

    with console.progress(lambda: put_view.uploading(key, sent, size)):
        return watcher.upload(file, key, advance)


def _watch(watcher: Watcher, upload: UploadedFile, timeout: float) -> None:
    now = ExecutionProgress("starting")
    with console.progress(lambda: put_view.watching(upload.object.key, now)):
        for progress in watcher.watch(upload, timeout):
            now = progress


def _read_outcome(watcher: Watcher, upload: UploadedFile) -> FileOutcome:
    with console.progress(lambda: f"{visible(upload.object.key)}: reading its outcome"):
        return watcher.outcome(upload)


def _require_files(files: list[Path], key: str | None) -> None:
    if key == "":
        raise CommandFailed("--key is empty. Omit it to use the name of the file as the key.", USAGE)
    if key and len(files) > 1:
        raise CommandFailed("--key names one object; give one FILE with it.", USAGE)
    if missing := [visible(str(file)) for file in files if not file.is_file()]:
        raise CommandFailed(
            f"Not a file: {', '.join(missing)}. Name existing files; to upload from a pipe, write it to a file first.",
            USAGE,
        )


def _key(deployment: Deployment, file: Path, key: str | None) -> str:
    """Choose the key of a file; raise CommandFailed for one that would start nothing."""
    if key is None:
        return f"{deployment.raw_prefix}{file.name}"
    if not key.startswith(deployment.raw_prefix):
        raise CommandFailed(
            f"This deployment processes only keys with the prefix {deployment.raw_prefix}: use "
            f"--key {quote(deployment.raw_prefix + key)}.",
            USAGE,
        )
    return key
