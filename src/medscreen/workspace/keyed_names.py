"""Keyed hashes of file names, which may identify patients; the key stays on this machine."""

import hashlib
import os
import secrets
from pathlib import Path

_KEY_BYTES = 32


def keyed_name(name: str, key: bytes) -> str:
    """Keyed BLAKE2b hash of a name, 32 hexadecimal characters."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), key=key, digest_size=16).hexdigest()


def names_key(path: Path) -> bytes:
    """The key in a file readable only by its owner; created if missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        drawn = path.with_name(f"{path.name}-{secrets.token_hex(8)}")
        drawn.touch(mode=0o600)
        drawn.write_bytes(secrets.token_bytes(_KEY_BYTES))
        try:
            os.link(drawn, path)  # fails if another process was first, so that both use one key
        except FileExistsError:
            pass
        finally:
            drawn.unlink()
    return path.read_bytes()
