"""Large objects are stored in files, and sent and received without several copies in memory.

MiniStack keeps every version of every object in memory, passes a response to the socket as a whole (a copy for each
slow reader), and copies a body four times while receiving it: a few objects of 90 MB need more than 2 GB. Apart from
memory, this changes nothing visible.
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

# Bodies of this size or more are stored in files.
LARGE = 64 * 1024
_PIECE = 256 * 1024
# Whether the body that is being read will be sent, and so need not be loaded into memory.
_sending: ContextVar[bool] = ContextVar("body_is_going_to_be_sent", default=False)


class Body:
    """A range of a file with the length and slices of bytes. The file is deleted with its last range."""

    def __init__(self, file: "_File", start: int, size: int) -> None:
        """Refer to a range without reading it."""
        self._file, self._start, self._size = file, start, size

    @classmethod
    def of(cls, *parts: "bytes | Body") -> Self:
        """Write parts into one file."""
        file = _File()
        with file.open("wb") as out:
            for part in parts:
                for piece in [part] if isinstance(part, bytes) else part.pieces():
                    out.write(piece)
            return cls(file, 0, out.tell())

    def __len__(self) -> int:
        """Return the number of bytes."""
        return self._size

    def __getitem__(self, cut: slice) -> Self:
        """Return a part of the range."""
        start, end, _ = cut.indices(self._size)
        return type(self)(self._file, self._start + start, max(0, end - start))

    def __bytes__(self) -> bytes:
        """Read the whole range."""
        return b"".join(self.pieces())

    def pieces(self) -> Iterator[bytes]:
        """Read the range in pieces."""
        with self._file.open("rb") as file:
            file.seek(self._start)
            left = self._size
            while left:
                piece = file.read(min(left, _PIECE))
                left -= len(piece)
                yield piece


class _File:
    """A file that is deleted when it is no longer referenced."""

    def __init__(self) -> None:
        handle, self._path = tempfile.mkstemp(prefix="body-")
        os.close(handle)
        weakref.finalize(self, _remove, self._path).atexit = False  # the folder is deleted with the server

    def open(self, mode: str) -> Any:
        return open(self._path, mode)  # noqa: PTH123 - each caller closes it


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)  # noqa: PTH108 - a finalizer may run while modules are unloaded


def apply() -> None:
    """Store bodies in files, send them from there, and copy less while receiving."""
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
        {"_local_buffer": io.BytesIO},  # its value is not a copy
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
    def record_in_file(bucket: str, key: str, earlier: Any, stored: dict[str, Any], data: Any) -> Any:
        stored["body"] = _stored(data)
        return record(bucket, key, earlier, stored, stored["body"])

    return record_in_file


def _uploading_a_part(upload: Callable[..., Any]) -> Callable[..., Any]:
    def upload_to_file(bucket: str, key: str, body: bytes, query: dict[str, Any], headers: dict[str, str]) -> Any:
        answer = upload(bucket, key, body, query, headers)
        s3 = module("services.s3")
        upload_state = s3._multipart_uploads.get(s3._qp(query, "uploadId")) or {"parts": {}}  # noqa: SLF001
        for part in upload_state["parts"].values():
            part["body"] = _stored(part["body"])
        return answer

    return upload_to_file


def _reading(read: Callable[..., Any], field: str) -> Callable[..., Any]:
    """Read a body; one from MiniStack's own store, after a restart, is moved into a file."""

    def read_from_file(*where: Any) -> Any:
        body, record = read(*where), where[-1]
        if isinstance(body, bytes) and len(body) >= LARGE:
            body = record[field] = Body.of(body)
        return bytes(body) if isinstance(body, Body) and not _sending.get() else body

    return read_from_file


def _persisting(persist: Callable[..., Any]) -> Callable[..., Any]:
    """Keep the file in the record: MiniStack removes the body, and would read all of it to return a part."""

    def persist_and_keep(bucket: str, key: str, stored: Any) -> None:
        body = stored.get("body") if isinstance(stored, dict) else None
        persist(bucket, key, stored)
        if isinstance(body, Body):
            stored["body"] = body

    return persist_and_keep


def _writing(write: Callable[..., Any]) -> Callable[..., Any]:
    def write_body(path: str, data: Any, *, text: bool = False) -> None:
        write(path, bytes(data) if isinstance(data, Body) else data, text=text)

    return write_body


def _answering(dispatch: Callable[..., Any]) -> Callable[..., Any]:
    streaming = member(module("core.responses"), "StreamingResponse")
    signed = member(module("core.iam_evaluator"), "_signed_request")

    def stream(method: str, *request: Any) -> Any:
        token = _sending.set(method == "GET")
        try:
            status, headers, body = dispatch(method, *request)
        finally:
            _sending.reset(token)
            signed.set(None)  # it holds the body, and an idle connection keeps the context of its last request
        return status, headers, streaming(_sender(body)) if isinstance(body, Body) else body

    return stream


def _sender(body: Body) -> Callable[..., Any]:
    async def send_all(send: Callable[..., Any], receive: Callable[..., Any]) -> None:
        gone = asyncio.ensure_future(_disconnect(receive))
        try:
            for piece in body.pieces():
                if gone.done():
                    return  # unsent pieces would accumulate in memory
                await send({"type": "http.response.body", "body": piece, "more_body": True})
                await asyncio.sleep(0)  # let the task that notices a disconnect run
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()

    return send_all


async def _disconnect(receive: Callable[..., Any]) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
