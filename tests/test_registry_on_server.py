"""The registry on an MLflow server: what is cached of it, and what a server's objects are when they are gone."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from medscreen import load_detector
from medscreen.errors import MedscreenError
from medscreen.pipeline.publish import publish
from medscreen.registry.versions import location_of, versions_of
from medscreen.tracking import logged_models as models
from medscreen.tracking import names
from medscreen.tracking.store import open_store
from servers import free_port, serving
from workspaces import MODEL, new_workspace, settings_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning", "ignore::FutureWarning"),
]


def test_graphs_of_a_server_are_checked_by_digest_and_lost_objects_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, loaded_registry: Callable[[Path], None]
) -> None:
    address = f"http://127.0.0.1:{(port := free_port())}"
    where = ["--workers", "1", "--host", "127.0.0.1", "--port", str(port)]
    store = [
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/server.db",
        "--artifacts-destination",
        str(tmp_path / "kept"),
    ]
    env = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    env |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    layout = new_workspace(tmp_path / "workspace")
    params = settings_of(layout.home)
    loaded_registry(layout.home)
    with serving([sys.executable, "-m", "mlflow", "server", *store, *where], address, tmp_path, env):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        publish(layout, params)
        client = open_store(layout)
        shutil.rmtree(layout.scratch / "models")
        load_detector(MODEL)
        (copy,) = (layout.scratch / "models").rglob("model.onnx")
        whole = copy.read_bytes()
        for damaged in (whole[:-4096] + bytes(4096), whole[:100], b""):
            copy.write_bytes(damaged)
            load_detector(MODEL)
            assert copy.read_bytes() == whole
        before = {version.number: version.stage for version in versions_of(client, MODEL)}
        for version in versions_of(client, MODEL):
            client.delete_logged_model(client.get_model_version(MODEL, str(version.number)).source.rpartition("/")[2])
            client.delete_run(version.run_id)
        for graph in (tmp_path / "kept").rglob("model.onnx"):
            graph.unlink()
        with pytest.raises(MedscreenError, match="its files are lost"):
            load_detector(MODEL)
        publish(layout, params)
        assert {version.number: version.stage for version in versions_of(client, MODEL)} == before
        load_detector(MODEL)
        production = next(version for version in versions_of(client, MODEL) if version.stage == "Production")
        assert location_of(client, production).startswith("mlflow-artifacts:")
        client.set_model_version_tag(MODEL, str(production.number), names.DIGEST, "../../data")
        data = sorted(layout.workspace.rglob("data/**/*"))
        with pytest.raises(MedscreenError, match="is not a digest"):
            load_detector(MODEL)
        assert sorted(layout.workspace.rglob("data/**/*")) == data
        with pytest.raises(MedscreenError, match="of your machine"):
            models.put_back(client, str(layout.workspace / "src"), None, "")
    assert not list(layout.home.rglob("mlflow.db"))
