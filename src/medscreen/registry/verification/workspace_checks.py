"""The workspace of now (data, parameters, code, DVC's objects, environment) against what the version was made from."""

import json
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, requires
from typing import Any

import numpy as np
import yaml
from pydantic import TypeAdapter, ValidationError

from medscreen.config.datasets import DatasetParams
from medscreen.config.detectors.roster import with_current_kinds
from medscreen.data.images import load_images, open_test_split, set_digest
from medscreen.data.sources.read_source import root_of
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.registry.dvc_objects import Objects, UnreachableRemoteError, outputs_of
from medscreen.registry.run_record import Record
from medscreen.registry.verification.finding import Check, NothingToCompareError, agreement, listed
from medscreen.tracking.detector_results import flat_settings
from medscreen.workspace.code_digest import code_digest, stage_code
from medscreen.workspace.digests import content_md5, file_digest
from medscreen.workspace.layout import Layout
from medscreen.workspace.lineage import environment, source_of


def require_same_dataset(record: Record) -> None:
    """Raises NothingToCompareError where another data set than the version's is active in the workspace."""
    try:
        now = json.loads(record.layout.raw.read_text())["dataset"]
    except (OSError, ValueError, KeyError, TypeError):  # none, or damaged: the check that needs it reports that
        return
    wanted = record.lineage.get("dataset", now)
    if now != wanted:
        raise NothingToCompareError(f"the workspace holds {now}; `make repro DATASET={wanted}` makes {wanted} active")


def check_scores(record: Record, threads: int) -> Check:
    """The workspace's val scored again by the package, where it is the val that the version was judged on."""
    kept, graph, folder = record.outcomes("val"), record.graph, record.layout.curated("val")
    if kept is None or graph is None:
        raise NothingToCompareError("the run keeps no scores" if kept is None else "the package is lost")
    if not folder.is_dir():
        raise NothingToCompareError("data/curated/development/val is not in the workspace; `dvc checkout` brings it")
    images = load_images(folder)
    if set_digest(images) != record.version.val_digest:
        raise NothingToCompareError("the workspace's val is not the one of the version, so there is nothing to compare")
    now, then = PackagedDetector(graph, threads).score(images.pixels), kept.scores
    if np.array_equal(now, then):
        yield "matches", f"the package gives {len(now)} images of val the kept scores, bit for bit"
    elif len(now) == len(then) and np.allclose(now, then, rtol=1e-5, atol=1e-6):
        # the last bits of a sum depend on processor, threads and version of ONNX Runtime
        apart = float(np.max(np.abs(now - then)))
        yield "matches", f"the package gives {len(now)} images of val the kept scores to within {apart:.1e}"
    else:
        other = int((now != then).sum()) if len(now) == len(then) else len(now)
        yield "changed", f"{other} of {len(now)} images of val have other scores than the run keeps"


def check_splits(record: Record) -> Check:
    """The digests of the curated images, computed again from the pixels."""
    require_same_dataset(record)
    # test among them: a digest tells whether it is the same, and scores nothing
    for split, digest in record.lineage["data"]["splits"].items():
        folder = record.layout.curated(split)
        where = folder.relative_to(record.layout.workspace).as_posix()
        if not folder.is_dir():
            yield "unreachable", f"{where} is not in the workspace; `dvc checkout` brings it"
            continue
        try:
            with open_test_split():
                images = load_images(folder)
            now = set_digest(images)
        except Exception as error:  # a damaged array or table fails in many ways
            yield "changed", f"{where} can't be read ({' '.join(str(error).split())}); `dvc checkout` brings it back"
            continue
        yield agreement(
            now == digest,
            f"{where}: pixels, labels and patients of {len(images)} images have their digest",
            f"{where} holds other pixels, labels or patients: digest {now}, was {digest}",
        )


def check_sources(record: Record) -> Check:
    """The source files that the data were curated from; a phantom that is not there is not made."""
    raw = _raw(record)
    if raw is None:
        raise NothingToCompareError("neither the workspace nor DVC's cache has the list of its source files")
    try:
        settings: DatasetParams = TypeAdapter(DatasetParams).validate_python(raw["settings"])
    except ValidationError as error:
        raise NothingToCompareError("the list of its source files does not name their folder") from error
    files, root = raw["files"], root_of(settings, record.layout.workspace)
    if not root.is_dir():
        raise NothingToCompareError(f"its {len(files)} source files are not here: there is no folder {settings.root}")
    lost = [name for name in files if not (root / name).is_file()]
    other = [name for name, digest in files.items() if name not in lost and file_digest(root / name) != digest]
    if lost:
        yield "changed", f"{len(lost)} source files are missing below {settings.root}: {listed(lost)}"
    if other:
        yield "changed", f"{len(other)} source files below {settings.root} have changed: {listed(other)}"
    if not lost and not other:
        yield "matches", f"{len(files)} source files below {settings.root} have their digests"


def _raw(record: Record) -> dict[str, Any] | None:
    """The recorded data/raw.json. MLflow has none: names of files may reveal whose images they are."""
    outs = record.lineage["dvc.lock"].get("raw", {}).get("outs", [])
    paths = [record.layout.raw]
    with suppress(Exception):  # no DVC here, which check_objects reports
        paths += [Objects(record.layout).cached(out["md5"]) for out in outs]
    for path in paths:
        with suppress(OSError, ValueError, KeyError, TypeError):  # absent or damaged: the next one may do
            content: dict[str, Any] = json.loads(path.read_text())
            if content["digest"] == record.lineage["data"]["digest"]:
                return content
    return None


def check_parameters(record: Record) -> Check:
    """The workspace's params.yaml against the recorded one, where the detector's chain depends on it."""
    detector, dataset = record.version.detector, record.lineage["dataset"]
    now = _relevant(yaml.safe_load(record.layout.params.read_text()), detector, dataset)
    then = _relevant(record.params, detector, dataset)
    if not record.has_own_training:  # its policy was given to `medscreen threshold`
        now, then = ({k: v for k, v in keys.items() if not k.startswith("operating.threshold")} for keys in (now, then))
    different = sorted(key for key in now.keys() | then.keys() if now.get(key, "-") != then.get(key, "-"))
    for key in different:
        yield "changed", f"{key} is {now.get(key, 'not there')}, was {then.get(key, 'not there')}"
    if not different:
        yield "matches", f"params.yaml has the {len(then)} values that {detector} depends on"


def _relevant(params: Mapping[str, Any], detector: str, dataset: str) -> dict[str, Any]:
    """Dotted key -> value, of all that a detector's stages read."""
    blocks = {key: params.get(key) for key in ("seed", "seeds", "curation", "compute", "operating", "evaluation")}
    blocks[f"detectors.{detector}"] = params.get("detectors", {}).get(detector)
    blocks[f"datasets.{dataset}"] = params.get("datasets", {}).get(dataset)
    return flat_settings(blocks)


def check_code(record: Record) -> Check:
    """The code that the stages ran, file by file; another commit with the same code is no change."""
    layout, lineage = record.layout, record.lineage
    for stage, entry in lineage["dvc.lock"].items():
        if files := locked_code({"dvc.lock": {stage: entry}}):
            different = changed_files(layout, files)
            yield agreement(
                not different,
                f"{stage} ran through the same {len(files)} files",
                f"{stage} ran through other code: {listed(different)}",
            )
    entry = with_current_kinds(yaml.safe_load(lineage["params.yaml"])["detectors"][lineage["detector"]])
    kinds = {entry["kind"], *(member["kind"] for member in entry.get("members", {}).values())}
    now, then = code_digest(stage_code(layout.workspace, "fit", kinds)), lineage["training"]["code"]
    yield agreement(
        now == then, f"training has the code digest {now}", f"training has the code digest {now}, had {then}"
    )
    commit, uncommitted = lineage["source"]["commit"], uncommitted_code(lineage)
    if not commit:
        raise NothingToCompareError("it was made outside a git repository")
    with_changes = f" with uncommitted changes in {listed(uncommitted)}" if uncommitted else ""
    if commit == source_of(layout)["commit"]:
        yield "matches", f"the workspace is at its commit {commit[:12]}{with_changes}"
    elif has_commit(layout, commit):
        yield "matches", f"its commit {commit[:12]}{with_changes} is in this repository, the workspace is at another"
    else:
        yield "unreachable", f"its commit {commit[:12]} is not in this repository; fetch it with git"


def locked_code(lineage: Mapping[str, Any]) -> dict[str, str]:
    """Path and MD5 of every source file that the stages of a lineage ran through."""
    dependencies = [dependency for entry in lineage["dvc.lock"].values() for dependency in entry.get("deps", [])]
    return {found["path"]: found["md5"] for found in dependencies if found["path"].startswith("src/")}


def changed_files(layout: Layout, files: Mapping[str, str]) -> list[str]:
    """Those of the files whose content is gone or not what the lock says."""
    paths = {name: layout.workspace / name for name in files}
    return [name for name, path in paths.items() if not path.exists() or content_md5(path) != files[name]]


def uncommitted_code(lineage: Mapping[str, Any]) -> list[str]:
    """The files of which git does not have the content; that of params.yaml is in the lineage."""
    return [path for path in lineage["source"]["uncommitted"] if path.rpartition("/")[2] != "params.yaml"]


def has_commit(layout: Layout, commit: str) -> bool:
    """True if the workspace's repository has that commit."""
    from git import Repo
    from git.exc import GitError

    try:
        return str(Repo(layout.workspace, search_parent_directories=True).commit(commit).hexsha) == commit
    except (GitError, ValueError):
        return False


def check_objects(record: Record) -> Check:
    """Every output that DVC has under the recorded digests: in the cache with that content, else in the remote."""
    from dvc.exceptions import NotDvcRepoError

    lock = record.lineage["dvc.lock"]
    if not lock:
        raise NothingToCompareError("it was made without DVC: its lineage has no lock")
    try:
        objects = Objects(record.layout)
    except NotDvcRepoError as error:
        raise NothingToCompareError("the workspace has no .dvc folder; `git checkout .dvc` brings it") from error
    found: Counter[str] = Counter()
    for path, digest in outputs_of(record.layout, lock):
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


def check_environment(record: Record) -> Check:
    """Python, system and the packages that medscreen needs."""
    different = differences(record.lineage["environment"])
    yield from (("changed", says) for says in different)
    if not different:
        yield "matches", "Python, system and every package that medscreen needs are those of then"


def differences(then: Mapping[str, Any]) -> list[str]:
    """Differences of this environment, each with both versions, without packages that medscreen does not need."""
    now = environment()
    old, new = then["packages"], now["packages"]
    return [f"{what} is {now[what]}, was {then[what]}" for what in ("python", "system") if now[what] != then[what]] + [
        f"{name} is {new.get(name, 'not installed')}, was {old.get(name, 'not installed')}"
        for name in sorted(_needed())
        if old.get(name) != new.get(name)
    ]


def _needed() -> set[str]:
    """medscreen's dependencies and theirs, whatever the system; extras are nobody's here."""
    found: set[str] = set()
    waiting = ["medscreen"]
    while waiting:
        with suppress(PackageNotFoundError):  # for another system
            lines = [line for line in requires(waiting.pop()) or [] if "extra ==" not in line]
            new = {needed[0].lower() for line in lines if (needed := re.match(r"[\w.-]+", line))} - found
            found |= new
            waiting += new
    return found
