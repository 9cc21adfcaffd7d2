"""The one digest that names contents: 32 hexadecimal characters of blake2b."""

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
