"""Checks of the workspace (data, parameters, code, DVC objects, environment) against a version's lineage."""

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
from medscreen.config.former_names import with_current_keys
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
    """Raises NothingToCompareError if the workspace's active data set is not the version's."""
    try:
        now = json.loads(record.layout.raw.read_text())["dataset"]
    except (OSError, ValueError, KeyError, TypeError):  # missing or damaged: the check that needs it reports that
        return
    wanted = record.lineage.get("dataset", now)
    if now != wanted:
        raise NothingToCompareError(f"the workspace holds {now}; `make repro DATASET={wanted}` makes {wanted} active")


def check_scores(record: Record, threads: int) -> Check:
    """Scores the workspace's val again with the package and compares, if it is the val of the version."""
    kept, graph, folder = record.outcomes("val"), record.graph, record.layout.curated("val")
    if kept is None or graph is None:
        raise NothingToCompareError("the run has no scores" if kept is None else "the package is lost")
    if not folder.is_dir():
        raise NothingToCompareError("data/curated/development/val is missing in the workspace; run `dvc checkout`")
    images = load_images(folder)
    if set_digest(images) != record.version.val_digest:
        raise NothingToCompareError("the workspace's val has other images than the version's val")
    now, then = PackagedDetector(graph, threads).score(images.pixels), kept.scores
    if np.array_equal(now, then):
        yield "matches", f"the package gives {len(now)} images of val the recorded scores, bit for bit"
    elif len(now) == len(then) and np.allclose(now, then, rtol=1e-5, atol=1e-6):
        # the last bits of a sum depend on processor, threads and version of ONNX Runtime
        apart = float(np.max(np.abs(now - then)))
        yield "matches", f"the package gives {len(now)} images of val the recorded scores to within {apart:.1e}"
    else:
        other = int((now != then).sum()) if len(now) == len(then) else len(now)
        yield "changed", f"{other} of {len(now)} images of val have other scores than recorded"


def check_splits(record: Record) -> Check:
    """Recomputes the digests of the curated splits from pixels, labels and patients."""
    require_same_dataset(record)
    # including test: its digest is compared, and nothing is scored
    for split, digest in record.lineage["data"]["splits"].items():
        folder = record.layout.curated(split)
        where = folder.relative_to(record.layout.workspace).as_posix()
        if not folder.is_dir():
            yield "unreachable", f"{where} is missing in the workspace; run `dvc checkout`"
            continue
        try:
            with open_test_split():
                images = load_images(folder)
            now = set_digest(images)
        except Exception as error:  # a damaged array or table fails in many ways
            yield "changed", f"{where} can't be read ({' '.join(str(error).split())}); run `dvc checkout`"
            continue
        yield agreement(
            now == digest,
            f"{where}: pixels, labels and patients of {len(images)} images have the recorded digest",
            f"{where} holds other pixels, labels or patients: digest {now}, was {digest}",
        )


def check_sources(record: Record) -> Check:
    """Checks the digests of the source files that the data were curated from."""
    raw = _raw(record)
    if raw is None:
        raise NothingToCompareError("the list of its source files is neither in the workspace nor in DVC's cache")
    try:
        settings: DatasetParams = TypeAdapter(DatasetParams).validate_python(with_current_keys(raw["settings"]))
    except ValidationError as error:
        raise NothingToCompareError("the list of its source files does not name their folder") from error
    files, root = raw["files"], root_of(settings, record.layout.workspace)
    if not root.is_dir():
        raise NothingToCompareError(f"the folder {settings.root} of its {len(files)} source files is missing")
    lost = [name for name in files if not (root / name).is_file()]
    other = [name for name, digest in files.items() if name not in lost and file_digest(root / name) != digest]
    if lost:
        yield "changed", f"{len(lost)} source files are missing below {settings.root}: {listed(lost)}"
    if other:
        yield "changed", f"{len(other)} source files below {settings.root} have changed: {listed(other)}"
    if not lost and not other:
        yield "matches", f"{len(files)} source files below {settings.root} have the recorded digests"


def _raw(record: Record) -> dict[str, Any] | None:
    """The recorded data/raw.json in workspace or DVC's cache; not in MLflow: its file names may identify patients."""
    outs = record.lineage["dvc.lock"].get("raw", {}).get("outs", [])
    paths = [record.layout.raw]
    with suppress(Exception):  # without DVC, which check_objects reports
        paths += [Objects(record.layout).cached(out["md5"]) for out in outs]
    for path in paths:
        with suppress(OSError, ValueError, KeyError, TypeError):  # missing or damaged: try the next one
            content: dict[str, Any] = json.loads(path.read_text())
            if content["digest"] == record.lineage["data"]["digest"]:
                return content
    return None


def check_parameters(record: Record) -> Check:
    """Compares the settings that the detector depends on in the workspace's and the recorded params.yaml."""
    detector, dataset = record.version.detector, record.lineage["dataset"]
    now = _relevant(yaml.safe_load(record.layout.params.read_text()), detector, dataset)
    then = _relevant(record.params, detector, dataset)
    if not record.has_own_training:  # its policy comes from `medscreen threshold`, not from params.yaml
        now, then = ({k: v for k, v in keys.items() if not k.startswith("operating.threshold")} for keys in (now, then))
    different = sorted(key for key in now.keys() | then.keys() if now.get(key, "-") != then.get(key, "-"))
    for key in different:
        yield "changed", f"{key} is {now.get(key, 'missing')}, was {then.get(key, 'missing')}"
    if not different:
        yield "matches", f"params.yaml has the {len(then)} values that {detector} depends on"


def _relevant(params: Mapping[str, Any], detector: str, dataset: str) -> dict[str, Any]:
    """Dotted key -> value of the settings that a detector's stages read."""
    blocks = {key: params.get(key) for key in ("seed", "seeds", "curation", "compute", "operating", "evaluation")}
    blocks[f"detectors.{detector}"] = params.get("detectors", {}).get(detector)
    blocks[f"datasets.{dataset}"] = params.get("datasets", {}).get(dataset)
    return flat_settings(blocks)


def check_code(record: Record) -> Check:
    """Compares the code of the stages file by file; another commit with equal code counts as equal."""
    layout, lineage = record.layout, record.lineage
    for stage, entry in lineage["dvc.lock"].items():
        if files := locked_code({"dvc.lock": {stage: entry}}):
            different = changed_files(layout, files)
            yield agreement(
                not different,
                f"{stage} has the same {len(files)} code files",
                f"{stage} has changed code files: {listed(different)}",
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
    """Path and MD5 of every source file that the stages of a lineage depend on."""
    dependencies = [dependency for entry in lineage["dvc.lock"].values() for dependency in entry.get("deps", [])]
    return {found["path"]: found["md5"] for found in dependencies if found["path"].startswith("src/")}


def changed_files(layout: Layout, files: Mapping[str, str]) -> list[str]:
    """The files that are missing or differ from the MD5 in the lock."""
    paths = {name: layout.workspace / name for name in files}
    return [name for name, path in paths.items() if not path.exists() or content_md5(path) != files[name]]


def uncommitted_code(lineage: Mapping[str, Any]) -> list[str]:
    """The uncommitted files of a lineage, without params.yaml, whose text is in the lineage."""
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
    """Checks that every recorded output is undamaged in DVC's cache, or else in its remote."""
    from dvc.exceptions import NotDvcRepoError

    lock = record.lineage["dvc.lock"]
    if not lock:
        raise NothingToCompareError("its lineage has no dvc.lock: it was made without DVC")
    try:
        objects = Objects(record.layout)
    except NotDvcRepoError as error:
        raise NothingToCompareError("the workspace has no .dvc folder; run `git checkout .dvc`") from error
    found: Counter[str] = Counter()
    for path, digest in outputs_of(record.layout, lock):
        try:
            places = Counter(objects.places(digest))
        except UnreachableRemoteError as error:
            yield "unreachable", f"{path} is missing in the cache, at least in part. {error}"
            continue
        found += places
        if bad := {place: places[place] for place in ("damaged", "missing") if places[place]}:
            what = " and ".join(f"{number} {place}" for place, number in bad.items())
            way_out = "run `dvc pull` if a remote has it, `dvc commit` if the workspace has it"
            if "damaged" in bad:
                removed = "remove the damaged files from the folder that `dvc cache dir` prints"
                way_out = f"{removed}, then `dvc pull` or `dvc commit`"
            yield "changed", f"{path}: {what} in DVC's cache and remote; {way_out}"
    if found["cache"] or found["remote"]:
        remote = f", {found['remote']} only in the remote" if found["remote"] else ""
        yield "matches", f"{found['cache']} objects are in the cache with the right content{remote}"


def check_environment(record: Record) -> Check:
    """Compares versions of Python, system and the packages that medscreen needs."""
    different = differences(record.lineage["environment"])
    yield from (("changed", says) for says in different)
    if not different:
        yield "matches", "Python, system and every package that medscreen needs have the recorded versions"


def differences(then: Mapping[str, Any]) -> list[str]:
    """Present and recorded versions of Python, system and medscreen's dependencies, where they differ."""
    now = environment()
    old, new = then["packages"], now["packages"]
    return [f"{what} is {now[what]}, was {then[what]}" for what in ("python", "system") if now[what] != then[what]] + [
        f"{name} is {new.get(name, 'not installed')}, was {old.get(name, 'not installed')}"
        for name in sorted(_needed())
        if old.get(name) != new.get(name)
    ]


def _needed() -> set[str]:
    """medscreen's dependencies and theirs, for every system, without extras."""
    found: set[str] = set()
    waiting = ["medscreen"]
    while waiting:
        with suppress(PackageNotFoundError):  # not installed: a dependency for another system
            lines = [line for line in requires(waiting.pop()) or [] if "extra ==" not in line]
            new = {needed[0].lower() for line in lines if (needed := re.match(r"[\w.-]+", line))} - found
            found |= new
            waiting += new
    return found
