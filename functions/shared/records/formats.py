"""Recognise by its first bytes what is not JSON text in UTF-8."""

from codecs import getincrementaldecoder

GZIP = b"\x1f\x8b"
"""Begins a gzip stream (RFC 1952)."""

_decoder = getincrementaldecoder("utf-8")  # which accepts a character that is cut at the end
LONGEST = 16
"""First bytes that suffice to recognise any of the formats."""

_FORMATS = {
    GZIP: "gzip",
    b"\x28\xb5\x2f\xfd": "Zstandard",
    b"\x04\x22\x4d\x18": "LZ4",
    b"\xff\x06\x00\x00sNaPpY": "Snappy",
    b"\xfd7zXZ\x00": "xz",
    b"\x78\x01": "zlib",
    b"\x78\x9c": "zlib",
    b"\x78\xda": "zlib",
    b"BZh": "bzip2",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"7z\xbc\xaf\x27\x1c": "7-Zip",
    b"PAR1": "Parquet",
    b"PARE": "Parquet, encrypted",
    b"Obj\x01": "Avro",
    b"ORC": "ORC",
    b"ARROW1": "Arrow",
    b"SEQ": "a Hadoop sequence file",
    b"\xff\xfe\x00\x00": "UTF-32",
    b"\x00\x00\xfe\xff": "UTF-32",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    **dict.fromkeys((b"{\x00", b"\x00{", b"[\x00", b"\x00["), "UTF-16"),
}


def foreign_format(beginning: bytes) -> str | None:
    """Name the format of an object that cannot be JSON in UTF-8; None if its first bytes show none.

    Some signatures are letters, with which a line of text may begin too: then the other lines may be JSON.
    """
    name = next((name for signature, name in _FORMATS.items() if beginning.startswith(signature)), None)
    return name if name and not _is_text(beginning[:LONGEST]) else None


def _is_text(beginning: bytes) -> bool:
    try:
        return all(map(str.isprintable, _decoder().decode(beginning).split()))
    except UnicodeDecodeError:
        return False
