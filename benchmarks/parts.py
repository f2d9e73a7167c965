"""Where the time goes: the work of the three stages in parts, each done alone on the same records.

A part that contains another is shown without it. What no part explains is the rest: what ties the parts together, and
caches that hold less when all is done at once. Parts are taken without Python's cyclic garbage collector; what that
costs is a row of its own.
"""

import gc
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from operator import attrgetter
from typing import Any

import msgspec

from benchmarks import records, stages
from benchmarks.buckets import LAST_MODIFIED, InMemory
from benchmarks.records import Input
from benchmarks.timing import Seconds, best, in_turn, once, total
from functions.shared.aws import PIECE_BYTES
from functions.shared.model.messages import Facts, Step
from functions.shared.model.records import Page
from functions.shared.records import gzip_lines, jsonl, reader
from functions.shared.records.gzip_lines import Packed
from functions.shared.records.reader import Limits
from functions.shared.staging import map_records
from functions.shared.staging import staged_batch as batches
from functions.transform import core
from functions.validate import contracts, rules
from functions.write.plan import Delivery

DATASET = "mission"
LIMITS = Limits(document=2**24, gzipped=2**26)

Times = dict[str, float]


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the work, done once in each of its stages: a piece of work that is measured, less the others in it.

    `is_compiled` is what is done by libraries that are no Python: no code of Custody's makes it faster.
    """

    name: str
    stages: tuple[str, ...]
    work: str
    less: tuple[str, ...] = ()
    is_compiled: bool = False

    def seconds(self, times: Times) -> float:
        """Say what it takes in all its stages together."""
        return len(self.stages) * (times[self.work] - sum(times[other] for other in self.less))


_V, _T, _W = stages.HANDLERS
PARTS = (
    Part("cut lines", (_V, _T), "lines"),
    Part("decode (msgspec)", (_V, _T), "decode", is_compiled=True),
    Part("digits kept, keys once, depth", (_V, _T), "read", ("lines", "decode")),
    Part("contract (jsonschema-rs)", (_V,), "check", is_compiled=True),
    Part("SHA-256 of the line", (_T,), "hash of lines", is_compiled=True),
    Part("place of each record", (_T,), "place", ("hash of lines",)),
    Part("transform of the dataset", (_T,), "transform"),
    Part("its rejections told apart", (_T,), "apply", ("transform",)),
    Part("encode (msgspec)", (_T,), "encode", is_compiled=True),
    Part("staged batch lines, is it JSON", (_T,), "staged batch", ("encode",)),
    Part("gzip of the staged batch", (_T,), "gzip of the staged batch", is_compiled=True),
    Part("gunzip and cut the staged batch", (_W,), "gunzip", is_compiled=True),
    Part("SHA-256 of the output", (_W,), "hash of output", is_compiled=True),
    Part("ledger lines, processed object", (_W,), "deliver", ("hash of output", "gzip of the ledger")),
    Part("gzip of the ledger", (_W,), "gzip of the ledger", is_compiled=True),
)
COLLECTOR = "garbage collector"
REST = "the rest"


def measured(given: Input, rounds: int) -> Times:
    """Take the time of each part, in all its stages together; of the collector and of the rest too."""
    works = {name: partial(_quietly, partial(once, work)) for name, work in _works(given).items()}
    whole = partial(_whole, given)
    found = in_turn(works | {"whole": whole, "without collector": partial(_quietly, whole)}, rounds)
    times = {name: total(best(runs)) for name, runs in found.items()}
    of_parts = {part.name: part.seconds(times) for part in PARTS}
    collector = times["whole"] - times["without collector"]
    return of_parts | {COLLECTOR: collector, REST: times["whole"] - collector - sum(of_parts.values())}


def compiled(times: Times) -> float:
    """Add up what is done by compiled libraries: what would be left if the code around them took no time."""
    return sum(times[part.name] for part in PARTS if part.is_compiled)


def stages_of(name: str) -> str:
    """Name the stages that do a part."""
    return next((", ".join(part.stages) for part in PARTS if part.name == name), "all")


def ledger_of(given: Input) -> list[bytes]:
    """Give the ledger of the records, uncompressed, in the pieces in which Write compresses it."""
    shelf = InMemory()
    stages.run(records.KEY, given.body, shelf)
    (key,) = (key for key in shelf.keys("audit") if key.startswith("ledger/"))
    with shelf.opened("audit", key) as file:
        body = b"".join(gzip_lines.unpacked([file.read()]))
    return list(_pieces(body))


def _quietly(work: Callable[[], Seconds]) -> Seconds:
    """Work without the cyclic garbage collector."""
    gc.disable()
    try:
        return work()
    finally:
        gc.enable()


def _whole(given: Input) -> Seconds:
    return stages.run(records.KEY, given.body, InMemory())


def _works(given: Input) -> dict[str, Callable[[], object]]:
    """Prepare what each piece of work is done on, as it is in the stage; give the works by name."""
    size = len(given.body)
    validator, transform = contracts.load(DATASET).validator, core.load(DATASET)
    raws = list(reader.of_chunk(_pieces(given.body), 0, size, LIMITS))
    checked = [rules.check(page, validator) for page in raws]
    accepted = [page for page, _ in checked]
    pages = [Page([raw.record for raw in page], rejected) for page, rejected in checked]
    apply = partial(map_records.apply, core.STAGE, transform)
    transformed = list(map(apply, pages))
    lines_in = [[raw.body for raw in page] for page in accepted]
    before = [[record.document for record in page.records] for page in pages]
    after = [[record.document for record in page.records] for page in transformed]
    staged_batch = [batches.write(page) for page in transformed]
    packed = b"".join(_gzipped(staged_batch))
    staged = list(gzip_lines.lines(gzip_lines.unpacked(_pieces(packed))))
    ledger = ledger_of(given)
    decode, encode = msgspec.json.Decoder().decode, msgspec.json.Encoder().encode
    output = [[encode(document) for document in page] for page in after]
    return {
        "lines": lambda: _through(jsonl.lines(_pieces(given.body), 0, size, LIMITS.document)),
        "decode": lambda: _each(decode, lines_in),
        "read": lambda: _through(reader.of_chunk(_pieces(given.body), 0, size, LIMITS)),
        "check": lambda: _through(rules.check(page, validator) for page in raws),
        "hash of lines": lambda: _each(_hash, lines_in),
        "place": lambda: _each(_record, accepted),
        "transform": lambda: _each(transform, before),
        "apply": lambda: _through(map(apply, pages)),
        "encode": lambda: _each(encode, after),
        "staged batch": lambda: _through(batches.write(page) for page in transformed),
        "gzip of the staged batch": lambda: _gzipped(staged_batch),
        "gunzip": lambda: _through(gzip_lines.lines(gzip_lines.unpacked(_pieces(packed)))),
        "hash of output": lambda: _each(_hash, output),
        "deliver": lambda: _delivered(staged),
        "gzip of the ledger": lambda: _gzipped(ledger),
    }


def _pieces(body: bytes) -> Iterator[bytes]:
    return (body[start : start + PIECE_BYTES] for start in range(0, len(body), PIECE_BYTES))


def _through(found: Iterable[object]) -> None:
    """Let a stream pass, as a stage does: nothing of it is kept."""
    deque(found, maxlen=0)


def _each(work: Callable[[Any], object], pages: Iterable[Iterable[Any]]) -> None:
    """Do the same to all that is on the pages, a page at a time."""
    _through([work(value) for value in page] for page in pages)


def _hash(body: bytes) -> str:
    return sha256(body).hexdigest()


_record = attrgetter("record")


def _gzipped(pieces: Iterable[bytes]) -> list[bytes]:
    with Packed() as file:
        for piece in pieces:
            file.add(piece)
        return [file.finished().read()]


def _delivered(pages: Sequence[list[bytes]]) -> None:
    step = Step.decode(stages.event(_W, stages.first_message(records.KEY, 0)))
    with Delivery(step, Facts(DATASET, LAST_MODIFIED, "")) as delivery:
        for page in pages:
            delivery.add(page)
