"""Inject faults into the calls that handlers make to AWS: each call is a point, and fails in every mode."""

import ast
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from botocore.exceptions import ClientError, ReadTimeoutError

from tests.support import steps

FUNCTIONS = Path(__file__).parents[2] / "functions"
AWS = FUNCTIONS / "shared" / "aws.py"
STEPS = (*steps.STEPS, "Summarize", "DeadLetter")
_CLIENTS = {"_s3", "_stepfunctions"}


class Killed(BaseException):
    """The process of a handler dies without a response."""


class Stopped(BaseException):
    """The execution is stopped while a handler runs."""


class Mode(StrEnum):
    """How a call fails: before or after it took effect, transiently or not."""

    BUSY = "answered 503, without effect"
    LOST = "took effect, but its response is lost"
    REFUSED = "refused, without effect"
    KILLED_BEFORE = "the process is killed before it"
    KILLED_AFTER = "the process is killed after it"
    STOPPED_BEFORE = "the execution is stopped before it"
    STOPPED_AFTER = "the execution is stopped after it"


INVOKE = "Invoke"
"""The operation by which a function itself is called."""

_OF_A_READ = (Mode.BUSY, Mode.REFUSED)
_OF_A_WRITE = (*_OF_A_READ, Mode.LOST, Mode.KILLED_AFTER)
_OF_AN_INVOCATION = (*_OF_A_WRITE, Mode.KILLED_BEFORE)
_STOPS = {Mode.KILLED_AFTER: Mode.STOPPED_AFTER, Mode.KILLED_BEFORE: Mode.STOPPED_BEFORE}


@dataclass(frozen=True, order=True)
class Point:
    """A call: the function that makes it, the operation, and its number among the calls of that function."""

    function: str
    operation: str
    nth: int

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes in which it can fail, each with a different effect.

        A read has no effect to lose. To be killed or stopped before a call is the same as after the last call with an
        effect, or before the function was called at all. Only steps can be stopped.
        """
        modes: tuple[Mode, ...] = _OF_A_WRITE
        if self.operation == INVOKE:
            modes = _OF_AN_INVOCATION
        elif self.operation.startswith(("get_", "list_", "describe_")):
            modes = _OF_A_READ
        if self.function.removesuffix("Chunk") not in STEPS:
            return modes
        return (*modes, *(_STOPS[mode] for mode in modes if mode in _STOPS))

    def __str__(self) -> str:
        return f"{self.function}, call {self.nth}: {self.operation}"


@dataclass(frozen=True)
class Errors:
    """The errors that a caller sees."""

    busy: Exception
    lost: Exception
    refused: Exception


@dataclass
class Injector:
    """Stands between callers and AWS; `fault` is the point at which one call fails, once, and how.

    `sites` are the lines of code whose call to functions.shared.aws failed, and `operations` the calls to AWS.
    """

    fault: tuple[Point, Mode] | None = None
    function: str = ""
    calls: list[Point] = field(default_factory=list)
    sites: set[tuple[str, int]] = field(default_factory=set)
    operations: set[str] = field(default_factory=set)
    hit: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def client(self, real: Any) -> Any:
        """Wrap a client."""
        return _Client(self, real)

    def call(self, operation: str, made: Callable[[], Any], errors: "Errors") -> Any:
        """Make a call, or let it fail as its caller would see it."""
        with self.lock:  # Summarize reads several ledger files at a time
            nth = sum(point.function == self.function for point in self.calls)
            point = Point(self.function, operation, nth)
            self.calls.append(point)
        if self.fault is None or self.fault[0] != point:
            return made()
        self.hit = True
        if operation != INVOKE:
            self.operations.add(operation)
            self.sites.add(_site())
        match self.fault[1]:
            case Mode.BUSY:
                raise errors.busy
            case Mode.REFUSED:
                raise errors.refused
            case Mode.KILLED_BEFORE:
                raise Killed
            case Mode.STOPPED_BEFORE:
                raise Stopped
            case Mode.STOPPED_AFTER:
                made()
                raise Stopped
            case Mode.LOST:
                made()
                raise errors.lost
            case Mode.KILLED_AFTER:
                made()
                raise Killed


class _Client:
    def __init__(self, injector: Injector, real: Any) -> None:
        self._injector = injector
        self._real = real

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        method = getattr(self._real, operation)

        def call(**asked: Any) -> Any:
            return self._injector.call(operation, lambda: method(**asked), OF_AWS)

        def pages_of(listing: str) -> Any:
            paginate, made = method(listing).paginate, self._injector.call
            return SimpleNamespace(paginate=lambda **asked: made(operation, lambda: list(paginate(**asked)), OF_AWS))

        return pages_of if operation == "get_paginator" else call


def _answer(status: int, code: str) -> ClientError:
    answer: Any = {"Error": {"Code": code, "Message": "injected"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "any")


def _site() -> tuple[str, int]:
    """Find the line of the functions that called functions.shared.aws."""
    frame = sys._getframe()  # noqa: SLF001 - for the line of the caller
    is_below = False
    while frame is not None:
        path = frame.f_code.co_filename
        if path == str(AWS):
            is_below = True
        elif is_below and path.startswith(str(FUNCTIONS)):
            return Path(path).relative_to(FUNCTIONS).as_posix(), frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]  # None ends the loop
    raise AssertionError("a client was used without functions.shared.aws")


def sites_in_the_code() -> set[tuple[str, int, int]]:
    """List the places that call functions.shared.aws: the file, and the first and last line of the call."""
    return {
        (path.relative_to(FUNCTIONS).as_posix(), node.lineno, node.end_lineno or node.lineno)
        for path in FUNCTIONS.rglob("*.py")
        if path != AWS
        for node in _calls(path)
        if isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == AWS.stem
    }


def operations_of_aws() -> set[str]:
    """List each operation that functions.shared.aws calls on a client."""
    return {
        node.func.attr
        for node in _calls(AWS)
        if isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Call)
        and isinstance(node.func.value.func, ast.Name)
        and node.func.value.func.id in _CLIENTS
    }


def _calls(path: Path) -> Iterator[ast.Call]:
    return (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call))


OF_AWS = Errors(
    busy=_answer(503, "SlowDown"),
    lost=ReadTimeoutError(endpoint_url="https://aws"),
    refused=_answer(403, "AccessDenied"),
)
"""The errors that boto3 raises."""
