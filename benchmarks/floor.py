"""The floor: what any program pays that reads JSON and writes JSON, each line decoded and encoded once.

The lines are cut before, and nothing else is done. The outputs are kept, as a stage must until it has put them.
"""

from collections.abc import Callable, Sequence

import msgspec
import orjson


def with_msgspec(documents: Sequence[bytes]) -> list[bytes]:
    """Decode and encode each document by msgspec."""
    return _each(documents, msgspec.json.Decoder().decode, msgspec.json.Encoder().encode)


def with_orjson(documents: Sequence[bytes]) -> list[bytes]:
    """Decode and encode each document by orjson."""
    return _each(documents, orjson.loads, orjson.dumps)


LIBRARIES: dict[str, Callable[[Sequence[bytes]], list[bytes]]] = {"msgspec": with_msgspec, "orjson": with_orjson}


def _each(
    documents: Sequence[bytes], decode: Callable[[bytes], object], encode: Callable[[object], bytes]
) -> list[bytes]:
    return [encode(decode(document)) for document in documents]
