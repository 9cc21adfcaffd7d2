"""Makes or finds the active data set and writes down which files it consists of."""

import hashlib
import json
from pathlib import Path
from typing import Any

from medscreen import sources
from medscreen.layout import Layout
from medscreen.outputs import replaced
from medscreen.params import Params
from medscreen.stages.running import run_stage


def raw(layout: Layout, params: Params) -> None:
    """Writes data/raw.json: the active data set's settings, and size and digest of each of its files."""
    active = params.datasets[params.dataset]
    root = sources.root_of(active, layout.workspace)
    files = sources.find_files(active, root, params.compute.threads)
    known = _Digests(layout.scratch / "digests.json")
    entries = {path.relative_to(root).as_posix(): known.of(path) for path in files}
    known.save()
    listing = hashlib.blake2b(json.dumps(entries, sort_keys=True).encode(), digest_size=16).hexdigest()
    size = sum(path.stat().st_size for path in files)
    content = {
        "dataset": params.dataset,
        "settings": active.model_dump(),
        "digest": listing,
        "bytes": size,
        "files": entries,
    }
    with replaced(layout.raw) as partial:
        partial.write_text(json.dumps(content, indent=1))
    print(f"{params.dataset}: {len(files)} files, {size / 1e6:.1f} MB, digest {listing}")


class _Digests:
    """Digests of files, remembered by path, size and time of change."""

    def __init__(self, memory: Path) -> None:
        self.memory = memory
        try:
            self.known: dict[str, list[Any]] = json.loads(memory.read_text())
        except (OSError, ValueError):  # no memory, or one cut short: only slower
            self.known = {}

    def of(self, path: Path) -> str:
        status = path.stat()
        key, stamp = str(path), [status.st_size, status.st_mtime_ns]
        if self.known.get(key, [])[:2] != stamp:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16))
            self.known[key] = [*stamp, digest.hexdigest()]
        return str(self.known[key][2])

    def save(self) -> None:
        with replaced(self.memory) as partial:
            partial.write_text(json.dumps(self.known))


if __name__ == "__main__":
    run_stage("raw", raw)
