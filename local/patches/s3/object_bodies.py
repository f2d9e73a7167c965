"""Large objects lie in files, and are sent and taken in without holding them in memory several times.

MiniStack holds every version of every object in memory, hands an answer to the socket whole (a slow reader keeps its
own copy), and copies a body four times while it comes in: a few objects of 90 MB take it beyond 2 GB. Nothing of this
is visible from outside, but for the memory.
"""

import asyncio
import contextlib
import io
import os
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Self

from local.patches.patch import change, member, module, wrap

# From this size on a body is put into a file.
LARGE = 64 * 1024
_PIECE = 256 * 1024
# Whether the body that is read now is going to be sent, so that it need not be brought into memory.
_sending: ContextVar[bool] = ContextVar("body_is_going_to_be_sent", default=False)


class Body:
    """A range of a file; it can be measured and cut as bytes are. The file goes with the last range of it."""

    def __init__(self, file: "_File", start: int, size: int) -> None:
        """Name the range; nothing is read."""
        self._file, self._start, self._size = file, start, size

    @classmethod
    def of(cls, *parts: "bytes | Body") -> Self:
        """Write parts into a file, one after the other."""
        file = _File()
        with file.open("wb") as out:
            for part in parts:
                for piece in [part] if isinstance(part, bytes) else part.pieces():
                    out.write(piece)
            return cls(file, 0, out.tell())

    def __len__(self) -> int:
        """Give the number of bytes."""
        return self._size

    def __getitem__(self, cut: slice) -> Self:
        """Cut a range out of it."""
        start, end, _ = cut.indices(self._size)
        return type(self)(self._file, self._start + start, max(0, end - start))

    def __bytes__(self) -> bytes:
        """Read all of it."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Read it piece by piece."""
        with self._file.open("rb") as file:
            file.seek(self._start)
            left = self._size
            while left:
                piece = file.read(min(left, _PIECE))
                left -= len(piece)
                yield piece


class _File:
    """A file that is removed once nobody refers to it."""

    def __init__(self) -> None:
        handle, self._path = tempfile.mkstemp(prefix="body-")
        os.close(handle)
        weakref.finalize(self, _remove, self._path).atexit = False  # the folder goes with the server

    def open(self, mode: str) -> Any:
        return open(self._path, mode)  # noqa: PTH123 - each caller closes it


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - a finalizer may run when modules are being taken down


def apply() -> None:
    """Put what is stored into files, send from there, and copy less of what comes in."""
    s3 = module("services.s3")
    wrap(s3, "_record_object_version", _recording)
    wrap(s3, "_upload_part", _uploading_a_part)
    wrap(s3, "_read_body", lambda read: _reading(read, "body"))
    wrap(s3, "_version_body", lambda read: _reading(read, "data"))
    wrap(s3, "_persist_object", _persisting)
    wrap(s3, "_atomic_write", _writing)
    wrap(s3, "_dispatch", _answering)
    member(s3, "_multipart_uploads")
    change(
        s3,
        "_complete_multipart_upload",
        {
            'hashlib.md5(stored["body"]).digest()': """bytes.fromhex(stored["etag"].strip('"'))""",
            'b"".join(combined_parts)': "_local_joined(combined_parts)",
        },
        {"_local_joined": _joined},
    )
    app = module("app")
    change(
        app,
        "_read_request_body",
        {
            "chunks = []": "chunks = _local_buffer()",
            "chunks.append(chunk)": "chunks.write(chunk)",
            'body = b"".join(chunks)': "body = chunks.getvalue()\n        del chunks",
        },
        {"_local_buffer": io.BytesIO},  # it gives its value without copying it
    )
    change(
        app,
        "_decode_aws_chunked_body",
        {"chunks.append(body[data_start:data_end])": "chunks.append(memoryview(body)[data_start:data_end])"},
    )


def _stored(data: Any) -> Any:
    return Body.of(data) if isinstance(data, bytes) and len(data) >= LARGE else data


def _joined(parts: list[Any]) -> Any:
    return Body.of(*parts) if sum(map(len, parts)) >= LARGE else b"".join(map(bytes, parts))


def _recording(record: Callable[..., Any]) -> Callable[..., Any]:
    def recorded(bucket: str, key: str, earlier: Any, stored: dict[str, Any], data: Any) -> Any:
        stored["body"] = _stored(data)
        return record(bucket, key, earlier, stored, stored["body"])

    return recorded


def _uploading_a_part(upload: Callable[..., Any]) -> Callable[..., Any]:
    def uploaded(bucket: str, key: str, body: bytes, query: dict[str, Any], headers: dict[str, str]) -> Any:
        answer = upload(bucket, key, body, query, headers)
        s3 = module("services.s3")
        going_on = s3._multipart_uploads.get(s3._qp(query, "uploadId")) or {"parts": {}}  # noqa: SLF001
        for part in going_on["parts"].values():
            part["body"] = _stored(part["body"])
        return answer

    return uploaded


def _reading(read: Callable[..., Any], field: str) -> Callable[..., Any]:
    """Read a body; one that was in MiniStack's own store, after a restart, is put into a file from then on."""

    def found(*where: Any) -> Any:
        body, record = read(*where), where[-1]
        if isinstance(body, bytes) and len(body) >= LARGE:
            body = record[field] = Body.of(body)
        return bytes(body) if isinstance(body, Body) and not _sending.get() else body

    return found


def _persisting(persist: Callable[..., Any]) -> Callable[..., Any]:
    """Keep what is in a file: MiniStack drops it from the record, and would read all of its own for any part of it."""

    def persisted(bucket: str, key: str, stored: Any) -> None:
        body = stored.get("body") if isinstance(stored, dict) else None
        persist(bucket, key, stored)
        if isinstance(body, Body):
            stored["body"] = body

    return persisted


def _writing(write: Callable[..., Any]) -> Callable[..., Any]:
    def written(path: str, data: Any, *, text: bool = False) -> None:
        write(path, bytes(data) if isinstance(data, Body) else data, text=text)

    return written


def _answering(dispatch: Callable[..., Any]) -> Callable[..., Any]:
    streaming = member(module("core.responses"), "StreamingResponse")
    signed = member(module("core.iam_evaluator"), "_signed_request")

    def answered(method: str, *request: Any) -> Any:
        token = _sending.set(method == "GET")
        try:
            status, headers, body = dispatch(method, *request)
        finally:
            _sending.reset(token)
            signed.set(None)  # it has the body, and an idle connection keeps the last request's context
        return status, headers, streaming(_sender(body)) if isinstance(body, Body) else body

    return answered


def _sender(body: Body) -> Callable[..., Any]:
    async def send_all(send: Callable[..., Any], receive: Callable[..., Any]) -> None:
        gone = asyncio.ensure_future(_disconnect(receive))
        try:
            for piece in body.pieces():
                if gone.done():
                    return  # what is sent to nobody would heap up in memory
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.sleep(0)  # sending to a closed socket does not give way to who would tell of it
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()

    return send_all


async def _disconnect(receive: Callable[..., Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
