"""The quick look-up of a stage's package finds what MLflow's client finds, or nothing."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medscreen.errors import MedscreenError
from medscreen.registry.loading import record_in_stage, whole_graph
from medscreen.registry.stage_package import _in_own_store, package_in_stage
from medscreen.workspace.layout import Layout
from workspaces import MODEL, SIZE

# MLflow's own, when it is first imported
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")


@pytest.fixture
def own(workspace: Layout, loaded_registry: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch) -> Layout:
    loaded_registry(workspace.home)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    record_in_stage(MODEL, "Production")  # rewrites the locations of a copied store
    return workspace


def changed(layout: Layout, statement: str) -> None:
    with closing(sqlite3.connect(layout.mlruns / "mlflow.db")) as connection, connection:
        assert connection.execute(statement).rowcount > 0


def test_it_is_the_version_that_mlflow_gives(own: Layout) -> None:
    record = record_in_stage(MODEL, "Production")
    found = _in_own_store(own, MODEL, "Production")
    assert found is not None
    assert (found.version, found.detector, found.digest) == (
        record.version.number,
        record.version.detector,
        record.version.digest,
    )
    assert found.graph == whole_graph(record)
    assert str(found) == f"{MODEL} version {found.version} ({found.detector})"


@pytest.mark.parametrize(
    ("model", "stage"), [(MODEL, "Staging"), (MODEL, "prod"), (MODEL, "None"), ("other", "Production")]
)
def test_what_is_not_there_is_left_to_mlflow(own: Layout, model: str, stage: str) -> None:
    changed(own, "update model_versions set current_stage = 'None' where version = 1")  # one version has it
    changed(own, "update model_versions set current_stage = 'Archived' where version = 2")
    assert _in_own_store(own, model, stage) is None
    with pytest.raises(MedscreenError):
        package_in_stage(model, stage)


def test_a_server_and_a_moved_store_are_left_to_mlflow(
    own: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(own.home, moved)
    assert _in_own_store(Layout(moved, moved), MODEL, "Production") is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert _in_own_store(own, MODEL, "Production") is None


def test_two_versions_in_a_stage_and_another_schema_are_left_to_mlflow(own: Layout) -> None:
    changed(own, "update model_versions set current_stage = 'Production'")
    assert _in_own_store(own, MODEL, "Production") is None
    changed(own, "update model_versions set current_stage = 'None' where version > 1")
    assert _in_own_store(own, MODEL, "Production") is not None
    with closing(sqlite3.connect(own.mlruns / "mlflow.db")) as connection, connection:
        connection.execute("alter table model_versions rename column storage_location to elsewhere")
    assert _in_own_store(own, MODEL, "Production") is None


@pytest.mark.parametrize("name", ["model.onnx", "MLmodel"])
def test_damaged_files_are_refused_by_both_ways(own: Layout, name: str) -> None:
    graph = package_in_stage(MODEL, "Production").graph
    file = graph.with_name(name)
    file.write_bytes(file.read_bytes().replace(b"mlflow.onnx", b"other.onnx") if name == "MLmodel" else b"damaged")
    assert _in_own_store(own, MODEL, "Production") is None
    with pytest.raises(MedscreenError, match=name):
        package_in_stage(MODEL, "Production")


def test_predict_imports_neither_mlflow_nor_torch(own: Layout, tmp_path: Path) -> None:
    image = tmp_path / "film.png"
    Image.fromarray(np.random.default_rng(1).integers(2, 256, (SIZE, SIZE)).astype(np.uint8)).save(image)
    code = (
        "import sys; from medscreen.cli.predict import predict; "
        f"predict([{str(image)!r}, '--name', {MODEL!r}], standalone_mode=False)"
    )
    code = f"import atexit, sys; atexit.register(lambda: sys.stderr.write(repr(sys.modules.keys())))\n{code}"
    done = subprocess.run([sys.executable, "-c", code], cwd=own.home, capture_output=True, text=True, check=True)
    assert f"{MODEL} version" in done.stdout
    assert not [name for name in ("mlflow", "torch", "pandas", "sqlalchemy") if f"'{name}'" in done.stderr]
