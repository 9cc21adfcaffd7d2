"""Digests that name contents: 32 hexadecimal characters of blake2b, of MD5 where others chose it."""

import hashlib
from pathlib import Path

_BYTES = 16


def digest_of(content: bytes | str) -> str:
    """The digest of bytes, or of a text in UTF-8."""
    return hashlib.blake2b(content.encode() if isinstance(content, str) else content, digest_size=_BYTES).hexdigest()


def file_digest(path: Path) -> str:
    """The digest of a file's content, read a piece at a time."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_BYTES)).hexdigest()


def file_md5(path: Path) -> str:
    """The MD5 of a file's content, by which others publish and name it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
