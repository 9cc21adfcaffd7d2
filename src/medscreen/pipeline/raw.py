"""Stage raw: generates or finds the active data set and lists the digests of its files and external weights."""

import json
from pathlib import Path
from typing import Any

from medscreen.config.detectors.entry import DetectorEntry
from medscreen.config.params import Params
from medscreen.data.sources import read_source as sources
from medscreen.data.sources.file_trees import name_below
from medscreen.pipeline.stage_runner import run_stage
from medscreen.runtime.escaping import say
from medscreen.workspace.atomic_outputs import replaced
from medscreen.workspace.code_digest import code_digest, stage_code
from medscreen.workspace.digests import digest_of, file_digest
from medscreen.workspace.layout import Layout


def raw(layout: Layout, params: Params) -> None:
    """Writes data/raw.json: settings of the active data set, total size, and digest of each file.

    Also writes data/external_weights/<detector>.json: digests of the weight files that the detector names, "" for a
    missing file (an error in `fit`). For an ensemble it adds the code digest of its members, which dvc.yaml can't list.
    """
    active = params.datasets[params.dataset]
    root = sources.root_of(active, layout.workspace)
    files = sources.find_files(active, root, params.compute.threads)
    known = _Digests(layout.scratch / "digests.json")
    entries = {name_below(path, root): known.of(path) for path in files}
    besides = {
        name: [known.of(path) if path.is_file() else "" for path in entry.files] + _members_code(layout, entry)
        for name, entry in params.detectors.items()
    }
    known.save()
    listing = digest_of(json.dumps(entries, sort_keys=True))
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
    with replaced(layout.external_weights) as folder:
        folder.mkdir()
        for name, digests in besides.items():
            (folder / f"{name}.json").write_text(json.dumps(digests))
    say(f"{params.dataset}: {len(files)} files, {size / 1e6:.1f} MB, digest {listing}")


def _members_code(layout: Layout, entry: DetectorEntry) -> list[str]:
    members = [kind for kind in entry.kinds if kind != entry.kind]
    return [code_digest(stage_code(layout.workspace, "fit", members))] if members else []


class _Digests:
    """Cache of file digests, keyed by path, size and modification time."""

    def __init__(self, memory: Path) -> None:
        self.memory = memory
        try:
            self.known: dict[str, list[Any]] = json.loads(memory.read_text())
        except (OSError, ValueError):  # missing or truncated cache: digests are computed again
            self.known = {}

    def of(self, path: Path) -> str:
        status = path.stat()
        key, stamp = str(path), [status.st_size, status.st_mtime_ns]
        if self.known.get(key, [])[:2] != stamp:
            self.known[key] = [*stamp, file_digest(path)]
        return str(self.known[key][2])

    def save(self) -> None:
        with replaced(self.memory) as partial:
            partial.write_text(json.dumps(self.known))


if __name__ == "__main__":
    run_stage("raw", raw)
