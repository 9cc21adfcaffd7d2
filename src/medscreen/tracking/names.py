"""What the curation's audit shows outside this machine: names of files that may be patients' as keyed hashes."""

import hashlib
import json
import os
import re
import secrets
from pathlib import Path, PurePosixPath
from typing import Any

from medscreen.layout import Layout
from medscreen.outputs import replaced
from medscreen.params import DatasetParams
from medscreen.params.privacy import is_public

_KEY_BYTES = 32
# a decoder may quote a name escaped, or cut in the middle
_QUOTED = re.compile(r"""(?<!\w)(['"]).*?(?:\1|$)""")


def shown_curation(layout: Layout, dataset: DatasetParams) -> list[Path]:
    """The files on curation that a run shows.

    Of data that nobody is in: audit and page as they are. Of others the audit alone, names of files hashed with a key
    that never leaves this machine: equal names have equal hashes in all runs of one checkout.
    """
    if is_public(dataset):
        # the page is no more than a convenience: a checkout that never pulled it can publish
        return [path for path in (layout.curation_report, layout.curation_page) if path.is_file()]
    hashed = layout.scratch / "shown" / layout.curation_report.name
    with replaced(hashed) as partial:
        audit = json.loads(layout.curation_report.read_text())
        partial.write_text(json.dumps(_hashed(audit, _key(layout.scratch / "names.key")), indent=1))
    return [hashed]


def _hashed(entry: Any, key: bytes) -> Any:
    """The same without names: those under `file` and `files`, also where a `reason` beside them repeats one."""
    if isinstance(entry, list):
        return [_hashed(item, key) for item in entry]
    if not isinstance(entry, dict):
        return entry
    hidden = {name: _hashed(value, key) for name, value in entry.items()}
    if "files" in entry:
        hidden["files"] = [_hash(name, key) for name in entry["files"]]
    if "file" in entry:
        hidden["file"] = _hash(entry["file"], key)
        hidden["reason"] = _without_name(hidden["reason"], entry["file"], hidden["file"])
    return hidden


def _without_name(reason: str, name: str, hashed: str) -> str:
    for known in (name, PurePosixPath(name).name):
        reason = reason.replace(known, hashed)
    return _QUOTED.sub("(a name)", reason)


def _hash(name: str, key: bytes) -> str:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), key=key, digest_size=16).hexdigest()


def _key(path: Path) -> bytes:
    """This checkout's key, made when it is first needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        drawn = path.with_name(f"{path.name}-{secrets.token_hex(8)}")
        drawn.touch(mode=0o600)
        drawn.write_bytes(secrets.token_bytes(_KEY_BYTES))
        try:
            os.link(drawn, path)  # fails where another process was first: one key for both
        except FileExistsError:
            pass
        finally:
            drawn.unlink()
    return path.read_bytes()
