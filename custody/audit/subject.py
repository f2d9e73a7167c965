"""Resolve what an operator names: an object, a record or a dead letter, by its id or by an address that contains it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING
from urllib.parse import unquote

from botocore.exceptions import ClientError

from custody.audit.object_state import ObjectState
from custody.audit.object_versions import object_versions
from custody.audit.reader import AuditReader
from custody.concurrency import map_ordered
from custody.deployment.target import Deployment
from custody.errors import USAGE, CommandFailed
from custody.executions.pipeline import OBJECT_ID, Pipeline
from functions.shared.model.ids import RawObject, record_id
from functions.shared.model.keys import DEAD_LETTERS, START_DIGITS, DeadLetterKey, LedgerKey
from functions.shared.model.ledger import WrittenLine

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ID = OBJECT_ID.pattern
_NAME = re.compile(rf"(?P<id>{_ID})(\.(?P<position>[0-9]{{1,{START_DIGITS}}}))?")
_ARN = re.compile(r"arn:[\w-]+:states:[^:]*:[^:]*:execution:[^:]+:(?P<name>[^:]+)")
_EXECUTION = re.compile(rf"(?P<id>{_ID})(-r\d+)?")
_PROCESSED = re.compile(rf"(.*/)?(?P<id>{_ID})(\.\d{{{START_DIGITS}}})?\.jsonl(\?versionId=.*)?")
_VERSION = "?versionId="


@dataclass(frozen=True)
class Subject:
    """An object, the record at a position of it, or a dead letter about it.

    `raw` is known if it was named by its key; `other_versions` are then the object ids of the other versions of that.
    `is_key` if no version was named.
    """

    object_id: str
    position: int | None = None
    dead_letter: DeadLetterKey | None = None
    raw: RawObject | None = None
    other_versions: tuple[str, ...] = ()
    is_key: bool = False

    def __str__(self) -> str:
        """Return its id."""
        if self.dead_letter:
            return self.dead_letter.id
        return self.object_id if self.position is None else record_id(self.object_id, self.position)


def resolve(s3: "S3Client", pipeline: Pipeline, deployment: Deployment, text: str) -> Subject:
    """Resolve a record id, an object id, a key in the raw bucket, or any address that Custody prints.

    These are the S3 URIs of raw versions, processed objects, dead letters and ledger files, the ids of dead letters,
    and the ARNs of executions. Raises CommandFailed for anything else.
    """
    if name := _NAME.fullmatch(text):
        return Subject(name["id"], int(name["position"]) if name["position"] else None)
    # A key may look like the address of a dead letter or ledger file: an object in the raw bucket takes precedence.
    subject = _by_key(s3, deployment.raw, text) or _by_address(pipeline, deployment, text)
    if subject is None:
        raise CommandFailed(
            f"No record, object, dead letter or key {text!r} found in {deployment.raw}. To see what there is: custody "
            "executions, or custody dead-letters --all.",
            USAGE,
        )
    return subject


def _by_key(s3: "S3Client", raw_bucket: str, text: str) -> Subject | None:
    """Find the newest version of a key, or the version that a URI names; None if there is none."""
    key = text.removeprefix(f"s3://{raw_bucket}/")
    if not key or key.startswith(("s3://", "arn:")):
        return None
    # What looks like the version in a URI may be part of the key itself.
    name, _, version_id = key.rpartition(_VERSION)
    versions = _versions(s3, raw_bucket, name) if name else []
    raw = next((each for each in versions if each.version_id == unquote(version_id)), None)
    if is_key := raw is None:
        versions = _versions(s3, raw_bucket, key)
        raw = next(iter(versions), None)
    others = tuple(each.id for each in versions if each != raw)
    return Subject(raw.id, raw=raw, other_versions=others, is_key=is_key) if raw else None


def _by_address(pipeline: Pipeline, deployment: Deployment, text: str) -> Subject | None:
    """Parse the object id in an address; None if it has none."""
    if execution := _ARN.fullmatch(text):
        if not pipeline.has(text):
            raise CommandFailed(
                f"{text} is not an execution of this deployment. Name its deployment with --env, --aws or --profile."
            )
        by_name = _EXECUTION.fullmatch(execution["name"])
        object_id = by_name["id"] if by_name else _object_id_in_input(pipeline, text)
        return Subject(object_id) if object_id else None
    if text.startswith(f"s3://{deployment.processed}/"):
        processed = _PROCESSED.fullmatch(text)
        return Subject(processed["id"]) if processed else None
    name = text.removeprefix(f"s3://{deployment.audit}/")
    if key := DeadLetterKey.parse(f"{DEAD_LETTERS}{name.removeprefix(DEAD_LETTERS).removesuffix('.json')}.json"):
        return Subject(key.object_id, dead_letter=key)
    ledger_key = LedgerKey.parse(name)
    return Subject(ledger_key.object_id) if ledger_key else None


def _object_id_in_input(pipeline: Pipeline, arn: str) -> str | None:
    """Read the object id in the input of an execution, such as that of a chunk; None if it is not known."""
    try:
        execution = pipeline.describe(arn)
    except ClientError:
        return None
    return execution.batch.object.id if execution and execution.batch else None


def _versions(s3: "S3Client", bucket: str, key: str) -> list[RawObject]:
    """List the versions of a key, newest first."""
    # Keys come in order: longer ones with the same beginning follow.
    of_key = takewhile(lambda version: version.key == key, object_versions(s3, bucket, key))
    return [version.raw for version in of_key if not version.is_marker]


def find_dead_letter(audit: AuditReader, subject: Subject, *, open_only: bool = False) -> DeadLetterKey:
    """Find the dead letter that was named, or the latest one about an object or a record: that of a whole bulk object.

    A record stands for the dead letter of its own chunk, and only if that record failed: never for that of another
    record. With `open_only`, an open dead letter takes precedence. Raises CommandFailed if there is none, or if several
    are open.
    """
    if key := subject.dead_letter:
        if key in audit.dead_letters(key.day, key.object_id):
            return key
        raise CommandFailed(f"There is no dead letter {subject}. List them: custody dead-letters --all", USAGE)
    state = ObjectState(audit, subject.object_id)
    about = state.dead_letters if subject.position is None else _about_record(state, subject, subject.position)
    if not about:
        raise CommandFailed(
            f"There is no dead letter about {subject}. See what is known about it: custody trace {subject}", USAGE
        )
    still_open = [key for key in about if key in state.open_dead_letters] if open_only else []
    candidates = covering(still_open)
    if len(candidates) > 1:
        raise CommandFailed(
            f"{len(candidates):,} dead letters of {state.object_id} are open. Name one: see custody dead-letters.",
            USAGE,
        )
    return max(candidates or about, key=lambda key: (key.attempt, key.is_of_whole, key.day, key.start, key.name))


def _about_record(state: ObjectState, subject: Subject, position: int) -> list[DeadLetterKey]:
    """List the dead letters of the chunk of a record; raise CommandFailed if it is written, or there is no such."""
    start = state.batch_at(position)
    committed = None if start is None else state.committed.get(start)
    if committed and isinstance(state.line_at(committed, position), WrittenLine):
        raise CommandFailed(
            f"{subject} is written: it did not fail, and there is nothing to redrive or discard. "
            f"Follow it: custody trace {subject}"
        )
    return [key for key in state.dead_letters if key.start == start]


def open_dead_letters(audit: AuditReader, subject: Subject) -> list[list[DeadLetterKey]]:
    """List the open dead letters to discard, by object: of a key those of all versions, else one, as find_dead_letter.

    That of a whole bulk object includes those of its chunks.
    """
    if subject.is_key:
        states = (ObjectState(audit, object_id) for object_id in (subject.object_id, *subject.other_versions))
        if by_object := [keys for keys in map_ordered(lambda state: covering(state.open_dead_letters), states) if keys]:
            return by_object
    return [[find_dead_letter(audit, subject, open_only=True)]]


def covering(dead_letters: Sequence[DeadLetterKey]) -> list[DeadLetterKey]:
    """Select that of a whole bulk object, which includes those of its chunks; or all, if there is none."""
    return [key for key in dead_letters if key.is_of_whole] or list(dead_letters)
