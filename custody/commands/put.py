"""`custody put`: upload files and folders, watch their executions, and show the outcome of every record."""

import sys
import time
from collections.abc import Generator
from contextlib import closing, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Annotated

import typer
from msgspec import structs

from custody.concurrency import map_ordered
from custody.errors import ALL_WRITTEN, SOME_REJECTED, SOME_WITHOUT_OUTCOME
from custody.ingest.outcome import LISTED, FileOutcome, PutUploads, Tally, UploadedFile
from custody.ingest.sources import STDIN, STDIN_GIB, Source, choose, spooled
from custody.ingest.watch import ExecutionProgress, Watcher
from custody.session import Session
from custody.terminal import console
from custody.terminal.commands import command, command_app
from custody.terminal.options import NoWait, Patience
from custody.views import put as put_view

app = command_app()

_UPLOADS = 4
"""Files that are uploaded at a time."""


@command(
    app,
    "custody put samples/objects/good.json",
    "custody put samples/objects --dataset mission --prefix 2026/",
    "custody put samples/objects/lines.jsonl --no-wait --json",
    see="custody trace, custody dead-letters",
)
def put(
    session: Session,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help=f"The files to upload to the raw bucket; of a folder, all files below it. - is standard input, up to "
            f"{STDIN_GIB} GiB, and needs --key.",
        ),
    ],
    *,
    key: Annotated[
        str | None, typer.Option(help="The whole key. Default: the name of the file, or its path below the folder.")
    ] = None,
    prefix: Annotated[
        str, typer.Option(help="The folder of the keys, such as orders/2026/. Its first part is the dataset.")
    ] = "",
    dataset: Annotated[
        str, typer.Option(metavar="NAME", help="Their dataset, which is the first folder of the keys.")
    ] = "",
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
    """Upload files to the raw bucket, and show each record's outcome; for many, counts and what needs attention.

    Hidden files and markers, whose names begin with . or _, are skipped in folders. Exit code 0: all records were
    written. 3: every record has an outcome, and some were rejected. 1: some have none. 2: incorrect usage; nothing was
    uploaded.
    """
    since = datetime.now(UTC)
    folders = (f"{part.strip('/')}/" for part in (dataset, prefix) if part.strip("/"))
    sources = choose(session.deployment, files, "".join(folders), key)
    for remark in sources.remarks(session.deployment):
        console.warn(remark)
    watcher, tally = Watcher(session), Tally(len(sources.files))
    try:
        with spooled(sys.stdin.buffer) if STDIN in files else nullcontext(STDIN) as stdin:
            uploads = _upload(watcher, sources.files, stdin)
        if no_wait and as_json:
            console.write_json(PutUploads(uploads))
        elif no_wait:
            put_view.uploads(uploads)
        else:
            with closing(_outcomes(watcher, uploads, timeout)) as outcomes:
                counted = map(tally.add, outcomes)
                if as_json:
                    console.stream_json("objects", counted, dict)
                else:
                    list(counted)
    except BaseException:
        put_view.warn_of_arrived(watcher.arrived)
        raise
    if not (no_wait or as_json):
        put_view.outcomes(tally)
    put_view.warn_of_unfinished(tally, timeout)
    put_view.advise(tally, since)
    raise typer.Exit(next((code for code in (SOME_WITHOUT_OUTCOME, SOME_REJECTED) if tally.codes[code]), ALL_WRITTEN))


def _upload(watcher: Watcher, sources: list[Source], stdin: Path) -> list[UploadedFile]:
    """Upload files, a few at a time; standard input is in the file `stdin`."""
    paths = {source.key: stdin if source.file == STDIN else source.file for source in sources}
    size, lock = sum(path.stat().st_size for path in paths.values()), Lock()
    sent, uploads = 0, list[UploadedFile]()

    def advance(number: int) -> None:
        nonlocal sent
        with lock:
            sent += number

    def upload(source: Source) -> UploadedFile:
        return structs.replace(watcher.upload(paths[source.key], source.key, advance), file=str(source.file))

    def describe() -> str:
        name = sources[0].key if len(sources) == 1 else f"{len(uploads):,} of {len(sources):,} files"
        return put_view.uploading(name, sent, size)

    with console.progress(describe), closing(map_ordered(upload, sources, _UPLOADS, stop=watcher.stop)) as uploaded:
        uploads.extend(uploaded)
    return uploads


def _outcomes(watcher: Watcher, uploads: list[UploadedFile], timeout: float) -> Generator[FileOutcome]:
    """Watch executions, several at a time, until all have ended or for `timeout` seconds; yield their outcomes."""
    deadline = time.monotonic() + timeout
    ended, latest = 0, "starting"

    def outcome(upload: UploadedFile) -> FileOutcome:
        nonlocal latest
        for now in watcher.watch(upload, max(0.0, deadline - time.monotonic())):
            latest = put_view.watching(upload.object.key, now)
        latest = f"{upload.object.key}: reading its outcome"
        return watcher.outcome(upload)

    def describe() -> str:
        return latest if len(uploads) == 1 else f"{ended:,} of {len(uploads):,} have ended; {latest}"

    latest = put_view.watching(uploads[0].object.key, ExecutionProgress("starting"))
    with console.progress(describe), closing(map_ordered(outcome, uploads, stop=watcher.stop)) as outcomes:
        for each in outcomes:
            ended += 1
            yield each
