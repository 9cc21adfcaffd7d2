"""The recorded code, stored objects and environment, against those of now."""

import re
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires
from typing import Any

import yaml

from medscreen.config.detectors.roster import with_current_kinds
from medscreen.registry.dvc_objects import Objects, UnreachableRemoteError, outputs_of
from medscreen.registry.verification.finding import Check, Status, agreement, listed
from medscreen.workspace.code_digest import code_digest, stage_code
from medscreen.workspace.digests import content_md5
from medscreen.workspace.layout import Layout
from medscreen.workspace.lineage import environment, source_of

_CODE = "src/"


def check_code(layout: Layout, lineage: Mapping[str, Any]) -> Check:
    """The code that the stages ran, file by file; another commit with the same code is no change."""
    for stage, entry in lineage["dvc.lock"].items():
        if files := locked_code({"dvc.lock": {stage: entry}}):
            different = changed_files(layout, files)
            yield agreement(
                not different,
                f"{stage} ran through the same {len(files)} files",
                f"{stage} ran through other code: {listed(different)}",
            )
    now, then = _training_code(layout, lineage), lineage["training"]["code"]
    yield agreement(
        now == then, f"training has the code digest {now}", f"training has the code digest {now}, had {then}"
    )
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


def _commit(layout: Layout, then: Mapping[str, Any]) -> tuple[Status, str]:
    commit, now = then["commit"], source_of(layout)["commit"]
    if not commit:
        return "unreachable", "it was made outside a git repository"
    uncommitted = [path for path in then["uncommitted"] if path != "params.yaml"]
    with_changes = f" with uncommitted changes in {listed(uncommitted)}" if uncommitted else ""
    if commit == now:
        return "matches", f"the workspace is at its commit {commit[:12]}{with_changes}"
    if not has_commit(layout, commit):
        return "unreachable", f"its commit {commit[:12]} is not in this repository; fetch it with git"
    return "matches", f"its commit {commit[:12]}{with_changes} is in this repository, the workspace is at another"


def has_commit(layout: Layout, commit: str) -> bool:
    """Whether the workspace's repository has that commit."""
    from git import Repo
    from git.exc import GitError

    try:
        repository = Repo(layout.workspace, search_parent_directories=True)
        return str(repository.commit(commit).hexsha) == commit
    except (GitError, ValueError):
        return False


def check_objects(layout: Layout, lineage: Mapping[str, Any]) -> Check:
    """Every output that DVC has under the recorded digests: in the cache with that content, else in the remote."""
    from dvc.exceptions import NotDvcRepoError

    if not lineage["dvc.lock"]:
        yield "unreachable", "it was made without DVC: its lineage has no lock"
        return
    try:
        objects = Objects(layout)
    except NotDvcRepoError:
        yield "unreachable", "the workspace has no .dvc folder; `git checkout .dvc` brings it"
        return
    found: Counter[str] = Counter()
    for path, digest in outputs_of(layout, lineage["dvc.lock"]):
        try:
            places = Counter(objects.places(digest))
        except UnreachableRemoteError as error:
            yield "unreachable", f"{path} is not all in the cache, and {error}"
            continue
        found += places
        if bad := {place: places[place] for place in ("damaged", "missing") if places[place]}:
            what = " and ".join(f"{number} {place}" for place, number in bad.items())
            way_out = "`dvc pull` where a remote has it, `dvc commit` where the workspace still does"
            if "damaged" in bad:
                removed = "remove what is damaged from the folder that `dvc cache dir` names"
                way_out = f"{removed}, then `dvc pull` or `dvc commit`"
            yield "changed", f"{path}: {what} in DVC's cache and remote; {way_out}"
    if found["cache"] or found["remote"]:
        remote = f", {found['remote']} in the remote alone" if found["remote"] else ""
        yield "matches", f"{found['cache']} objects are in the cache with the right content{remote}"


def check_environment(lineage: Mapping[str, Any]) -> Check:
    """Python, system and the packages that medscreen needs."""
    different = differences(lineage["environment"])
    yield from (("changed", says) for says in different)
    if not different:
        yield "matches", "Python, system and every package that medscreen needs are those of then"


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
