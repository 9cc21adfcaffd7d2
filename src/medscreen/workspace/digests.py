"""Content digests of 32 hexadecimal characters: BLAKE2b, or MD5 where DVC and data publishers use it."""

import hashlib
import json
from pathlib import Path

_BYTES = 16


def digest_of(content: bytes | str) -> str:
    """The digest of bytes, or of a text in UTF-8."""
    return hashlib.blake2b(content.encode() if isinstance(content, str) else content, digest_size=_BYTES).hexdigest()


def file_digest(path: Path) -> str:
    """The digest of a file's content, read in chunks."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=_BYTES)).hexdigest()


def file_md5(path: Path) -> str:
    """The MD5 of a file's content, as used by DVC and data publishers."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def content_md5(path: Path) -> str:
    """DVC's digest of a file or folder; for a folder, the MD5 of the list of its files with their MD5s.

    Folders `__pycache__`, which are in .dvcignore, are skipped.
    """
    if not path.is_dir():
        return file_md5(path)
    paths = {p.relative_to(path).as_posix(): p for p in path.rglob("*") if p.is_file() and "__pycache__" not in p.parts}
    listed = [{"md5": file_md5(paths[name]), "relpath": name} for name in sorted(paths)]
    return hashlib.md5(json.dumps(listed).encode(), usedforsecurity=False).hexdigest() + ".dir"
