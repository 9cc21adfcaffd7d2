"""`medscreen verify` on a workspace whose versions publish has registered."""

import hashlib
import json
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
import yaml
from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

from factories import FOLDERS, one_sentence
from medscreen.cli import main
from medscreen.config.operating import SpecificityPolicy
from medscreen.data.images import SPLITS
from medscreen.errors import MedscreenError
from medscreen.pipeline.publish import publish
from medscreen.registry.threshold_change import set_threshold
from medscreen.registry.verification.finding import GROUPS, Finding
from medscreen.registry.verification.verify import verify
from medscreen.registry.versions import Version, find_version, named_version, require_graph
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from medscreen.workspace.lineage import lineage_digest
from test_former_names import FORMER, as_formerly
from workspaces import MODEL, change_params, settings_of

# what MLflow says of its own type hints when it first logs a model
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning"),
]


@pytest.fixture(scope="module")
def published(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = Path(shutil.copytree(evaluated, tmp_path_factory.mktemp("verification") / "home"))
    layout = Layout(home, home)
    contents = {f"normal/{number}.png": f"film {number}".encode() for number in range(5)}
    for name, content in contents.items():
        (home / "films" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "films" / name).write_bytes(content)
    files = {name: hashlib.blake2b(content, digest_size=16).hexdigest() for name, content in contents.items()}
    raw = {"dataset": "films", "digest": "films of the tests", "files": files, "settings": FOLDERS}
    layout.raw.write_text(json.dumps(raw))
    publish(layout, settings_of(home))
    return home


@pytest.fixture
def layout(published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    _artifact_repos_cache.clear()  # by the ids of runs and models, which those of copies share
    home = Path(shutil.copytree(published, tmp_path / "home"))
    monkeypatch.chdir(home)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return Layout(home, home)


def production(layout: Layout) -> Version:
    return find_version(open_store(layout), MODEL, "Production")


def found(layout: Layout, which: str = "Production") -> list[Finding]:
    client = open_store(layout)
    return verify(client, layout, settings_of(layout.workspace), find_version(client, MODEL, which))


def changes(findings: list[Finding]) -> dict[str, str]:
    """Subject -> what is said of it, of all that has changed."""
    message: dict[str, str] = {}
    for finding in findings:
        if finding.status == "changed":
            message[finding.subject] = f"{message.get(finding.subject, '')} {finding.says}".strip()
    return message


def artefact(layout: Layout, name: str) -> Path:
    """A file that the run of the version in Production keeps."""
    uri = open_store(layout).get_run(production(layout).run_id).info.artifact_uri
    path = Path(unquote(urlsplit(uri).path)) / name
    assert path.is_file()
    return path


def record_params(layout: Layout, params: Any) -> None:
    """Another params.yaml in the lineage of the version in Production, with the digests of that."""
    path, version, client = artefact(layout, "lineage.json"), production(layout), open_store(layout)
    lineage = json.loads(path.read_text()) | {"params.yaml": yaml.safe_dump(params, sort_keys=False)}
    path.write_text(json.dumps(lineage))
    digest = lineage_digest(lineage)
    client.set_tag(version.run_id, "medscreen.lineage_digest", digest)
    client.set_model_version_tag(MODEL, str(version.number), "medscreen.lineage_digest", digest)


def rewritten(path: Path, change: Callable[[Any], None]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def move_threshold(path: Path, threshold: float) -> None:
    """Another threshold in the nodes of a packaged graph."""
    model = onnx.load(path)
    (constant,) = (tensor for tensor in model.graph.initializer if tensor.name == "op_threshold")
    constant.CopyFrom(onnx.numpy_helper.from_array(np.array(threshold, np.float32), constant.name))
    onnx.save(model, path)


def test_nothing_has_changed_of_an_untouched_version(layout: Layout) -> None:
    findings = found(layout)
    assert changes(findings) == {}
    assert {finding.subject for finding in findings} == {subject for group in GROUPS.values() for subject in group}
    # a workspace without DVC has no locked objects, and that is all
    assert {finding.subject for finding in findings if finding.status == "unreachable"} == {"DVC objects"}
    message = " ".join(finding.says for finding in findings)
    assert "of val the recorded scores, bit for bit" in message
    assert "put it into Production" in message
    assert "5 source files below films have the recorded digests" in message


def test_verifying_changes_no_file(layout: Layout) -> None:
    def contents() -> dict[Path, bytes]:
        ours = (path for top in ("data", "models", "reports", "films") for path in (layout.workspace / top).rglob("*"))
        kept = (layout.mlruns / "artifacts").rglob("*")
        return {path: path.read_bytes() for path in [*ours, *kept] if path.is_file()}

    before = contents()
    found(layout)
    assert contents() == before


@pytest.mark.parametrize("split", SPLITS)
def test_a_changed_pixel_is_found(layout: Layout, split: str) -> None:
    path = layout.curated(split) / "images.npy"
    pixels = np.load(path)
    pixels[3, 5, 5] ^= 1
    np.save(path, pixels)
    message = changes(found(layout))
    assert set(message) == {"data"}
    assert message["data"].startswith(f"{layout.curated(split).relative_to(layout.workspace)} holds other pixels")


def test_changed_and_missing_source_files_are_found(layout: Layout) -> None:
    (layout.workspace / "films" / "normal" / "3.png").write_bytes(b"another film")
    (layout.workspace / "films" / "normal" / "4.png").unlink()
    message = changes(found(layout))
    assert set(message) == {"data"}
    assert "1 source files are missing below films: normal/4.png" in message["data"]
    assert "1 source files below films have changed: normal/3.png" in message["data"]


def test_a_changed_parameter_is_found_if_the_detector_depends_on_it(layout: Layout) -> None:
    params = settings_of(layout.workspace).model_dump()
    params["promotion"]["max_leaked_images"] = 3
    params["detectors"]["half"]["width"] = 2
    assert production(layout).detector == "whole"
    change_params(layout.workspace, **params)
    assert changes(found(layout)) == {}
    params["detectors"]["whole"]["training"]["learning_rate"] = 0.2
    change_params(layout.workspace, **params)
    assert changes(found(layout)) == {"parameters": "detectors.whole.training.learning_rate is 0.2, was 0.1"}


def test_another_threshold_in_the_workspace_is_found(layout: Layout) -> None:
    move_threshold(layout.packaged("whole"), 0.75)
    message = changes(found(layout))
    assert set(message) == {"operating point"}
    assert message["operating point"].startswith("the workspace's models/whole/detector.onnx has threshold 0.75")


@pytest.mark.parametrize(("key", "value"), [("threshold", 0.75), ("defer_to", 9.0), ("policy", "luck")])
def test_another_operating_point_in_the_run_is_found(layout: Layout, key: str, value: Any) -> None:
    rewritten(artefact(layout, "operating.json"), lambda point: point.update({key: value}))
    message = changes(found(layout))
    assert set(message) == {"operating point"}
    assert f"the run's operating.json has {key.replace('_', ' ')} {value}" in message["operating point"]


def test_another_threshold_in_the_graph_is_found(layout: Layout) -> None:
    move_threshold(require_graph(open_store(layout), layout, production(layout)), 0.75)
    message = changes(found(layout))
    assert set(message) == {"package", "operating point"}
    assert message["operating point"].count("the package has 0.75") == 3


def test_another_artefact_is_found(layout: Layout) -> None:
    client = open_store(layout)
    other = next(v for v in (find_version(client, MODEL, n) for n in "123") if v.detector == "half")
    shutil.copy(require_graph(client, layout, other), require_graph(client, layout, production(layout)))
    message = changes(found(layout))
    assert "model.onnx was replaced" in message["package"]
    assert "have other scores than recorded" in message["scores"]
    assert "record" not in message


@pytest.mark.parametrize("content", [None, b"", b"no graph"])
def test_a_lost_or_damaged_package_is_said(layout: Layout, content: bytes | None) -> None:
    path = require_graph(open_store(layout), layout, production(layout))
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert ("is lost" if content is None else "was replaced") in changes(found(layout))["package"]


@pytest.mark.parametrize(
    "change",
    [
        lambda flavors: flavors["python_function"].update(data="other.onnx"),
        lambda flavors: flavors["onnx"].update(code="code"),
        lambda flavors: flavors.pop("onnx"),
    ],
)
def test_a_package_past_which_mlflow_loads_is_found_not_loaded_and_mended(
    layout: Layout, change: Callable[[Any], None]
) -> None:
    path = require_graph(open_store(layout), layout, production(layout)).with_name("MLmodel")
    before = path.read_text()
    content = yaml.safe_load(before)
    change(content["flavors"])
    path.write_text(yaml.safe_dump(content))
    assert "MLmodel makes MLflow load other files than model.onnx" in changes(found(layout))["package"]
    with pytest.raises(MedscreenError, match="makes MLflow load other files"):
        require_graph(open_store(layout), layout, production(layout))
    path.write_text("flavors: [")
    assert "MLmodel, which MLflow needs to load it, can't be read" in changes(found(layout))["package"]
    publish(layout, settings_of(layout.workspace))
    assert yaml.safe_load(path.read_text())["flavors"] == yaml.safe_load(before)["flavors"]
    assert changes(found(layout)) == {}


@pytest.mark.parametrize(
    ("tag", "value"),
    [("medscreen.run_key", "another"), ("medscreen.val_digest", "0"), ("medscreen.is_baseline", "true")],
)
def test_another_tag_is_found(layout: Layout, tag: str, value: str) -> None:
    version = production(layout)
    open_store(layout).set_model_version_tag(MODEL, str(version.number), tag, value)
    assert f"tags of the version: {tag} is {value}, its lineage has" in changes(found(layout))["record"]


def test_other_training_images_are_found(layout: Layout) -> None:
    """The gate compares on what a version was not trained on: this list says what that is."""
    path = artefact(layout, "trained_on.parquet")
    images = pq.read_table(path)
    pq.write_table(images.slice(1), path)
    assert "trained_on.parquet lists other images" in changes(found(layout))["record"]
    pq.write_table(images.take(list(reversed(range(len(images))))), path)
    assert changes(found(layout)) == {}
    path.unlink()
    assert "trained_on.parquet is lost" in changes(found(layout))["record"]


def test_a_card_that_somebody_edited_is_found(layout: Layout) -> None:
    client, version = open_store(layout), production(layout)
    client.update_model_version(MODEL, str(version.number), "Fit for the clinic.")
    assert "the description of the version is not the beginning of card.md" in changes(found(layout))["record"]
    card = artefact(layout, "card.md")
    card.write_text(card.read_text().replace("never diagnosis", "diagnosis"))
    assert "card.md is not the one that medscreen wrote" in changes(found(layout))["record"]
    card.unlink()
    assert "card.md is lost" in changes(found(layout))["record"]
    publish(layout, settings_of(layout.workspace))
    assert changes(found(layout)) == {}


def test_a_changed_lineage_is_found(layout: Layout) -> None:
    rewritten(artefact(layout, "lineage.json"), lambda lineage: lineage["training"].update(run_key="another"))
    message = changes(found(layout))
    assert set(message) == {"record"}
    assert message["record"].startswith("lineage.json has the digest")
    assert "tags of the version: medscreen.run_key is" in message["record"]


def test_changed_numbers_in_mlflow_are_found(layout: Layout) -> None:
    run_id = production(layout).run_id
    with closing(sqlite3.connect(layout.mlruns / "mlflow.db")) as store, store:
        store.execute("update params set value = '11' where run_uuid = ? and key = 'seed'", (run_id,))
        for table in ("metrics", "latest_metrics"):
            store.execute(f"update {table} set value = 0.99 where run_uuid = ? and key = 'val/auroc'", (run_id,))  # noqa: S608
    message = changes(found(layout))
    assert set(message) == {"record"}
    assert "parameters in MLflow: seed is 11, its params.yaml has 7" in message["record"]
    assert "metrics in MLflow: val/auroc is 0.99, evaluation.json has" in message["record"]
    assert "0.990000 in MLflow" in message["record"]


def test_a_stage_that_nobody_decided_on_is_found(layout: Layout) -> None:
    client = open_store(layout)
    other = next(n for n in "123" if find_version(client, MODEL, n).stage == "None")
    with closing(sqlite3.connect(layout.mlruns / "mlflow.db")) as store, store:
        store.execute("update model_versions set current_stage = 'Production' where version = ?", (other,))
    assert "no decision in the log put it there" in changes(found(layout, other))["record"]


def test_a_version_by_threshold_is_not_held_against_the_operating_point_of_the_workspace(layout: Layout) -> None:
    params = settings_of(layout.workspace)
    client = open_store(layout)
    chosen = SpecificityPolicy(policy="specificity", at_least=0.9)
    made = set_threshold(client, layout, production(layout), chosen, params.evaluation, params.seed)
    assert made.is_new
    assert changes(found(layout, str(made.version.number))) == {}


def test_a_version_of_before_kinds_had_variants_is_verified(layout: Layout) -> None:
    """Its run has logged the former kind, and its params.yaml has former kinds in studies, too."""
    params = yaml.safe_load(json.loads(artefact(layout, "lineage.json").read_text())["params.yaml"])
    del params["detectors"]["whole"]["variant"]
    params["detectors"]["corner"] = {"kind": "gradient"}
    former = {"plain": "tunable_cnn", "variational": "vae"}
    entries = [s["entry"] for study in params["studies"].values() for s in study["searched"].values() if s["entry"]]
    assert {entry["variant"] for entry in entries} == {*former}
    for entry in entries:
        entry["kind"] = former[entry.pop("variant")]
    record_params(layout, params)
    with closing(sqlite3.connect(layout.mlruns / "mlflow.db")) as store, store:
        store.execute("delete from params where run_uuid = ? and key = 'variant'", (production(layout).run_id,))
    assert changes(found(layout)) == {}


def test_a_version_with_the_keys_of_a_former_medscreen_is_verified(layout: Layout) -> None:
    params = yaml.safe_load(json.loads(artefact(layout, "lineage.json").read_text())["params.yaml"])
    record_params(layout, as_formerly(params))
    run = production(layout).run_id
    with closing(sqlite3.connect(layout.mlruns / "mlflow.db")) as store, store:
        names = [name for (name,) in store.execute("select key from params where run_uuid = ?", (run,))]
        former = {name: ".".join(FORMER.get(part, part) for part in name.split(".")) for name in names}
        assert former["operating.deferral.sensitivity"] == "operating.refer.sensitivity"
        store.executemany(
            "update params set key = ? where run_uuid = ? and key = ?", [(former[name], run, name) for name in names]
        )
    assert changes(found(layout)) == {}


def test_another_active_data_set_leaves_the_version_itself_to_be_checked(layout: Layout) -> None:
    rewritten(layout.raw, lambda raw: raw.update(dataset="others", digest="of others"))
    move_threshold(layout.packaged("whole"), 0.75)
    for split in SPLITS:
        images = np.load(layout.curated(split) / "images.npy")
        np.save(layout.curated(split) / "images.npy", images[::-1].copy())
    findings = found(layout)
    assert changes(findings) == {}
    unreachable = {finding.subject for finding in findings if finding.status == "unreachable"}
    assert unreachable == {"operating point", "scores", "data", "DVC objects"}


DAMAGES: dict[str, Callable[[Layout], None]] = {
    "no data": lambda layout: shutil.rmtree(layout.workspace / "data"),
    "no models": lambda layout: shutil.rmtree(layout.workspace / "models"),
    "no git": lambda layout: shutil.rmtree(layout.workspace / ".git"),
    "raw.json is cut short": lambda layout: layout.raw.write_text('{"dataset":'),
    "raw.json is a list": lambda layout: layout.raw.write_text("[]"),
    "pixels are cut short": lambda layout: (layout.curated("val") / "images.npy").write_bytes(b"\x93NUMPY"),
    "manifest is no table": lambda layout: (layout.curated("test") / "manifest.parquet").write_bytes(b"PAR1"),
    "the package is empty": lambda layout: layout.packaged("whole").write_text(""),
    "no artefacts": lambda layout: shutil.rmtree(layout.mlruns / "artifacts"),
    "no lineage": lambda layout: artefact(layout, "lineage.json").unlink(),
    "lineage is damaged": lambda layout: artefact(layout, "lineage.json").write_text('{"data": {'),
    "lineage is something else": lambda layout: artefact(layout, "lineage.json").write_text("{}"),
    "no scores": lambda layout: artefact(layout, "scores.parquet").unlink(),
    "scores are no table": lambda layout: artefact(layout, "scores.parquet").write_bytes(b""),
    "evaluation is a list": lambda layout: artefact(layout, "evaluation.json").write_text("[1]"),
    "params.yaml of then is of another medscreen": lambda layout: rewritten(
        artefact(layout, "lineage.json"), lambda lineage: lineage.update({"params.yaml": "seed: 7"})
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_part_is_said_and_the_others_are_looked_at(layout: Layout, damage: str) -> None:
    before = found(layout)
    DAMAGES[damage](layout)
    findings = found(layout)
    assert {finding.subject for finding in findings} == {subject for group in GROUPS.values() for subject in group}
    assert findings != before
    assert {finding.status for finding in findings if finding not in before} <= {"changed", "unreachable"}
    assert all("\n" not in finding.says for finding in findings)


def run_command(*arguments: str) -> int:
    sys.argv = ["medscreen", "verify", *arguments]
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_the_command_says_it_by_exit_status_and_as_json(
    layout: Layout, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [])
    assert run_command() == 0
    assert capsys.readouterr().out.strip().splitlines()[-1].startswith("2")
    move_threshold(layout.packaged("whole"), 0.75)
    assert run_command(f"{MODEL}/Production", "--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["model"], report["stage"]) == (MODEL, "Production")
    assert [f["subject"] for f in report["findings"] if f["status"] == "changed"] == ["operating point"]
    assert run_command("77") == 2
    assert "has no version '77'" in capsys.readouterr().err


def test_what_names_no_version_is_said(layout: Layout) -> None:
    client = open_store(layout)
    number = production(layout).number
    assert named_version(client, "films", f"{MODEL}/{number}") == named_version(client, "films", "Production")
    for which in ("a'b/1", "/1", "mri-detector/Production", "Staging"):
        with pytest.raises(MedscreenError) as refusal:
            named_version(client, "films", which)
        one_sentence(refusal)
