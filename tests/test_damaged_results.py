"""Files of a result that changed behind DVC's back: what was measured is never shown of another graph."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from factories import one_sentence
from medscreen.data.images import load_images, open_test_split, save_images
from medscreen.errors import MedscreenError
from medscreen.packaging.calibration import calibrate
from medscreen.packaging.packaged_detector import packaged_digest
from medscreen.packaging.predictions import PREDICTED_BY
from medscreen.pipeline.evaluate import evaluate
from medscreen.pipeline.publish import publish
from medscreen.registry.versions import version_in_stage, versions_of
from medscreen.tracking.detector_results import read_results
from medscreen.tracking.store import open_store
from medscreen.workspace.digests import file_digest
from medscreen.workspace.layout import Layout
from medscreen.workspace.lineage import chain
from workspaces import MODEL, ROSTER, change_params, settings_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning"),
]


def refusal(layout: Layout) -> str:
    before = versions_of(open_store(layout), MODEL)
    with pytest.raises(MedscreenError) as error:
        publish(layout, settings_of(layout.home))
    assert versions_of(open_store(layout), MODEL) == before
    return one_sentence(error)


def lock(layout: Layout, detector: str) -> None:
    """A dvc.lock that names the outputs of the last two stages as they are."""
    paths = [layout.packaged(detector), layout.predictions(detector), *layout.report(detector).glob("*.json")]
    outs = [
        {
            "path": path.relative_to(layout.home).as_posix(),
            "hash": "md5",
            "md5": hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest(),
        }
        for path in paths
    ]
    stages = {chain(detector)[-1]: {"cmd": "", "outs": outs}}
    (layout.home / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def lock_folder(layout: Layout, folder: Path) -> None:
    """A dvc.lock that names a folder as it is, by the rule of DVC itself."""
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.tree import Tree

    tree = Tree()
    for path in folder.rglob("*"):
        if path.is_file():
            md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
            tree.add(path.relative_to(folder).parts, None, HashInfo("md5", md5))
    tree.digest()
    out = {"path": folder.relative_to(layout.home).as_posix(), "hash": "md5", "md5": tree.hash_info.value}
    stages = {"curate": {"cmd": "", "outs": [out]}}
    (layout.home / "dvc.lock").write_text(yaml.safe_dump({"schema": "2.0", "stages": stages}))


def overwritten(path: Path, offset: int = 0, length: int = 4096) -> None:
    content = bytearray(path.read_bytes())
    end = min(offset + length, len(content))
    content[offset:end] = bytes(byte ^ 0x5A for byte in content[offset:end])
    path.write_bytes(content)


def test_predictions_name_the_graph_that_made_them(workspace: Layout) -> None:
    carried = pq.read_schema(workspace.predictions("whole")).metadata[PREDICTED_BY].decode()
    assert carried == packaged_digest(workspace.packaged("whole"))


def test_another_graph_than_made_the_predictions_is_not_published(workspace: Layout) -> None:
    shutil.copy(workspace.packaged("corner"), workspace.packaged("half"))
    assert refusal(workspace).startswith("reports/predictions/half.parquet: not made by models/half/detector.onnx")


def test_predictions_of_no_named_graph_are_not_published(workspace: Layout) -> None:
    path = workspace.predictions("half")
    pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)
    assert refusal(workspace).startswith("reports/predictions/half.parquet: not made by")


@pytest.mark.parametrize(
    "path",
    [
        lambda layout: layout.packaged("whole"),
        lambda layout: layout.predictions("whole"),
        lambda layout: layout.evaluation("whole"),
        lambda layout: layout.analysis("whole"),
    ],
)
def test_what_is_not_what_the_lock_names_is_refused_by_name(workspace: Layout, path: Callable[[Layout], Path]) -> None:
    lock(workspace, "whole")
    damaged = path(workspace)
    content = damaged.read_bytes()
    if damaged.suffix == ".json":  # a number changed by hand: it is still JSON
        damaged.write_bytes(content.replace(b"0.9", b"0.8", 1).replace(b"1", b"2", 1))
    else:
        overwritten(damaged)
    message = refusal(workspace)
    assert message.startswith(damaged.relative_to(workspace.home).as_posix())
    assert hashlib.md5(content, usedforsecurity=False).hexdigest()[2:] in message


def test_a_table_of_predictions_damaged_anywhere_is_never_taken(published: Path) -> None:
    layout = Layout(published, published)
    params = settings_of(published)
    path = layout.predictions("whole")
    whole = path.read_bytes()
    sound = {r.detector: r.predictions for r in read_results(layout, params)}["whole"]

    @settings(max_examples=25, deadline=None)
    @given(st.integers(0, len(whole) - 1), st.integers(1, 64))
    def check(offset: int, length: int) -> None:
        overwritten(path, offset, length)
        try:
            predictions = {r.detector: r.predictions for r in read_results(layout, params)}["whole"]
        except MedscreenError:
            return
        finally:
            path.write_bytes(whole)
        assert predictions.equals(sound)  # the damage is in what nobody reads

    try:
        check()
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("name", ["network.onnx", "fit.json"])
def test_a_damaged_file_of_the_training_is_not_calibrated(workspace: Layout, name: str) -> None:
    folder = workspace.fitted("whole")
    about = json.loads((folder / "fit.json").read_text())
    about["files"] = {n: file_digest(folder / n) for n in ("network.onnx", "explain.onnx")}
    (folder / "fit.json").write_text(json.dumps(about))
    calibrate(workspace, settings_of(workspace.home), "whole")
    before = packaged_digest(workspace.packaged("whole"))
    overwritten(folder / name, 100, 40)
    with pytest.raises(MedscreenError, match=f"models/whole/fitted/{name}: damaged"):
        calibrate(workspace, settings_of(workspace.home), "whole")
    assert packaged_digest(workspace.packaged("whole")) == before


@pytest.mark.parametrize("file", ["images.npy", "manifest.parquet"])
def test_a_damaged_folder_of_the_lock_is_not_published(workspace: Layout, file: str) -> None:
    nested = workspace.curated("val") / "a" / "b.txt"  # sorts before a.txt by parts, behind it by name
    nested.parent.mkdir()
    nested.write_text("b")
    nested.parent.with_suffix(".txt").write_text("a")
    lock_folder(workspace, workspace.curated("val"))
    publish(workspace, settings_of(workspace.home))
    overwritten(workspace.curated("val") / file, 128)
    assert "data/curated/development/val: damaged or changed by hand" in refusal(workspace)


@pytest.mark.parametrize("file", ["images.npy", "manifest.parquet"])
@pytest.mark.parametrize("offset", [0, 4, 64, 128])
def test_damaged_images_are_named(workspace: Layout, file: str, offset: int) -> None:
    overwritten(workspace.curated("val") / file, offset)
    with pytest.raises(MedscreenError) as error:
        calibrate(workspace, settings_of(workspace.home), "whole")
    assert one_sentence(error).startswith("data/curated/development/val: damaged or changed by hand")


def test_damaged_images_judge_no_champion(workspace: Layout) -> None:
    client = open_store(workspace)
    champion = version_in_stage(client, MODEL, "Production")
    assert champion is not None
    change_params(workspace.home, detectors={"corner": ROSTER["corner"], "half": ROSTER["half"]})
    overwritten(workspace.curated("val") / "images.npy", 128, 1 << 20)
    assert "data/curated/development/val: damaged or changed by hand" in refusal(workspace)
    assert version_in_stage(client, MODEL, "Production") == champion


def test_images_of_an_audit_without_digests_are_taken(workspace: Layout) -> None:
    audit = json.loads(workspace.curation_report.read_text())
    del audit["splits"]["val"]["digest"]
    workspace.curation_report.write_text(json.dumps(audit))
    calibrate(workspace, settings_of(workspace.home), "whole")


def test_a_damaged_audit_is_named(workspace: Layout) -> None:
    workspace.curation_report.write_text("{")
    with pytest.raises(MedscreenError, match=r"reports/curation\.json: damaged"):
        calibrate(workspace, settings_of(workspace.home), "whole")


def test_a_test_split_without_images_is_named(workspace: Layout) -> None:
    with open_test_split():
        images = load_images(workspace.curated("test"))
    shutil.rmtree(workspace.curated("test"))
    save_images(images, np.empty(0, np.int64), workspace.curated("test"), "test")
    workspace.curation_report.unlink()  # which names the images of before
    with pytest.raises(MedscreenError, match="data/curated/test has no images"):
        evaluate(workspace, settings_of(workspace.home), ["whole"])
