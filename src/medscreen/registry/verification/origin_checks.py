"""Code, stored objects and environment of then, against those of now."""

import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, requires
from typing import Any

import yaml

from medscreen.config.detectors.roster import with_current_kinds
from medscreen.registry.dvc_objects import Objects, UnreachableRemoteError, outputs_of
from medscreen.registry.verification.finding import (
    CODE,
    ENVIRONMENT,
    OBJECTS,
    Finding,
    changed,
    listed,
    matches,
    unreachable,
)
from medscreen.workspace.code_digest import code_digest, stage_code
from medscreen.workspace.digests import content_md5
from medscreen.workspace.layout import Layout
from medscreen.workspace.lineage import environment, source_of

_CODE = "src/"


def check_code(layout: Layout, lineage: Mapping[str, Any]) -> Iterator[Finding]:
    """The code that the stages ran, file by file; another commit with the same code is no change."""
    for stage, entry in lineage["dvc.lock"].items():
        files = locked_code({"dvc.lock": {stage: entry}})
        different = changed_files(layout, files)
        if different:
            yield changed(CODE, f"{stage} ran through other code: {listed(different)}")
        elif files:
            yield matches(CODE, f"{stage} ran through the same {len(files)} files")
    now, then = _training_code(layout, lineage), lineage["training"]["code"]
    if now == then:
        yield matches(CODE, f"training has the code digest {now}")
    else:
        yield changed(CODE, f"training has the code digest {now}, had {then}")
    yield _commit(layout, lineage["source"])


def _training_code(layout: Layout, lineage: Mapping[str, Any]) -> str:
    """The digest of the code that would train the detector of a lineage today."""
    entry = with_current_kinds(yaml.safe_load(lineage["params.yaml"])["detectors"][lineage["detector"]])
    kinds = {entry["kind"], *(member["kind"] for member in entry.get("members", {}).values())}
    return code_digest(stage_code(layout.workspace, "fit", kinds))


def locked_code(lineage: Mapping[str, Any]) -> dict[str, str]:
    """Path and MD5 of every source file that the stages of a lineage ran through."""
    dependencies = [dependency for entry in lineage["dvc.lock"].values() for dependency in entry.get("deps", [])]
    return {found["path"]: found["md5"] for found in dependencies if found["path"].startswith(_CODE)}


def changed_files(layout: Layout, files: Mapping[str, str]) -> list[str]:
    """Those of the files whose content is gone or not what the lock says."""
    paths = {name: layout.workspace / name for name in files}
    return [name for name, path in paths.items() if not path.exists() or content_md5(path) != files[name]]


def _commit(layout: Layout, then: Mapping[str, Any]) -> Finding:
    commit, now = then["commit"], source_of(layout)["commit"]
    if not commit:
        return unreachable(CODE, "it was made outside a git repository")
    uncommitted = [path for path in then["uncommitted"] if path != "params.yaml"]
    with_changes = f" with uncommitted changes in {listed(uncommitted)}" if uncommitted else ""
    if commit == now:
        return matches(CODE, f"the workspace is at its commit {commit[:12]}{with_changes}")
    if not has_commit(layout, commit):
        return unreachable(CODE, f"its commit {commit[:12]} is not in this repository; fetch it with git")
    return matches(CODE, f"its commit {commit[:12]}{with_changes} is in this repository, the workspace is at another")


def has_commit(layout: Layout, commit: str) -> bool:
    """Whether the workspace's repository has that commit."""
    from git import Repo
    from git.exc import GitError

    try:
        repository = Repo(layout.workspace, search_parent_directories=True)
        return str(repository.commit(commit).hexsha) == commit
    except (GitError, ValueError):
        return False


def check_objects(layout: Layout, lineage: Mapping[str, Any]) -> Iterator[Finding]:
    """Every output that DVC has under the recorded digests: in the cache with that content, else in the remote."""
    from dvc.exceptions import NotDvcRepoError

    if not lineage["dvc.lock"]:
        yield unreachable(OBJECTS, "it was made without DVC: its lineage has no lock")
        return
    try:
        objects = Objects(layout)
    except NotDvcRepoError:
        yield unreachable(OBJECTS, "the workspace has no .dvc folder; `git checkout .dvc` brings it")
        return
    found: dict[str, int] = {"cache": 0, "remote": 0}
    for path, digest in outputs_of(layout, lineage["dvc.lock"]):
        try:
            places = _places(objects, digest)
        except UnreachableRemoteError as error:
            yield unreachable(OBJECTS, f"{path} is not all in the cache, and {error}")
            continue
        for place in found:
            found[place] += places.count(place)
        bad: dict[str, int] = {what: places.count(what) for what in ("damaged", "missing") if what in places}
        if bad:
            yield _lost(path, bad)
    if any(found.values()):
        remote = f", {found['remote']} in the remote alone" if found["remote"] else ""
        yield matches(OBJECTS, f"{found['cache']} objects are in the cache with the right content{remote}")


def _places(objects: Objects, digest: str) -> list[str]:
    """Where the output is: itself, or of a folder its list and each of its files."""
    places: list[str] = [objects.place(digest)]
    if digest.endswith(".dir") and places == ["cache"]:
        places += [objects.place(file) for file in objects.files_of(digest)]
    return places


def _lost(path: str, bad: Mapping[str, int]) -> Finding:
    what = " and ".join(f"{number} {kind}" for kind, number in bad.items())
    if "damaged" in bad:
        out = "remove what is damaged from the folder that `dvc cache dir` names, then `dvc pull` or `dvc commit`"
    else:
        out = "`dvc pull` where a remote has it, `dvc commit` where the workspace still does"
    return changed(OBJECTS, f"{path}: {what} in DVC's cache and remote; {out}")


def check_environment(lineage: Mapping[str, Any]) -> Iterator[Finding]:
    """Python, system and the packages that medscreen needs."""
    different = differences(lineage["environment"])
    for says in different:
        yield changed(ENVIRONMENT, says)
    if not different:
        yield matches(ENVIRONMENT, "Python, system and every package that medscreen needs are those of then")


def differences(then: Mapping[str, Any]) -> list[str]:
    """What differs in this environment, each with both versions; packages that medscreen does not need are left out."""
    now = environment()
    said = [f"{what} is {now[what]}, was {then[what]}" for what in ("python", "system") if now[what] != then[what]]
    old, new = then["packages"], now["packages"]
    needed = _needed() & (old.keys() | new.keys())
    return said + [
        f"{name} is {new.get(name, 'not installed')}, was {old.get(name, 'not installed')}"
        for name in sorted(needed)
        if old.get(name) != new.get(name)
    ]


def _needed() -> set[str]:
    """medscreen's dependencies and theirs, whatever the system; extras are nobody's here."""
    found: set[str] = set()
    waiting = ["medscreen"]
    while waiting:
        name = waiting.pop()
        try:
            lines = requires(name) or []
        except PackageNotFoundError:  # for another system
            continue
        for line in lines:
            needed = re.match(r"[\w.-]+", line)
            if needed and "extra ==" not in line and needed[0].lower() not in found:
                found.add(needed[0].lower())
                waiting.append(needed[0])
    return found
