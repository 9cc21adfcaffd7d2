"""Answers of a store that MLflow itself never gives, and files that it keeps where this machine can't look."""

from pathlib import Path

import pytest
from google.protobuf.json_format import ParseError
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from factories import one_sentence
from medscreen.errors import MedscreenError
from medscreen.pipeline.publish import publish
from medscreen.registry.gate_evidence import Evidence
from medscreen.registry.overview import overview
from medscreen.registry.promotion import roll_back
from medscreen.registry.versions import LostVersionError, find_version, require_graph, version_in_stage, versions_of
from medscreen.tracking.detector_results import read_results
from medscreen.tracking.run_state import UnreachableFilesError, require_reachable
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from workspaces import MODEL, settings_of

pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")


def answer(**values: object) -> ModelVersion:
    about = {"name": MODEL, "version": "1", "creation_timestamp": 0, "last_updated_timestamp": 0} | values
    return ModelVersion(**about, current_stage="Production")


@pytest.mark.parametrize(
    "values",
    [
        {"version": "abc"},
        {"version": ""},
        {"version": None},
        {"creation_timestamp": -(10**17)},
        {"creation_timestamp": 10**20},
        {"creation_timestamp": None},
        {"last_updated_timestamp": "yesterday"},
    ],
)
def test_a_version_with_impossible_values_is_named(
    workspace: Layout, values: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_store(workspace)
    monkeypatch.setattr(MlflowClient, "search_model_versions", lambda *_, **__: [answer(**values)])
    for read in (versions_of, lambda client, model: version_in_stage(client, model, "Production")):
        with pytest.raises(MedscreenError) as error:
            read(client, MODEL)
        assert f"of {MODEL}: the store returned an invalid response" in one_sentence(error)


def test_an_answer_of_another_form_is_named(workspace: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise ParseError("Failed to parse creation_timestamp field")

    client = open_store(workspace)
    monkeypatch.setattr(MlflowClient, "search_model_versions", refused)
    with pytest.raises(MedscreenError, match="the store returned an invalid response"):
        versions_of(client, MODEL)


@pytest.fixture
def elsewhere(workspace: Layout, monkeypatch: pytest.MonkeyPatch) -> Layout:
    """A workspace whose versions lie in a bucket, on a machine without boto3."""
    for module in ("boto3", "botocore"):
        monkeypatch.setitem(__import__("sys").modules, module, None)
    monkeypatch.setattr(MlflowClient, "get_model_version_download_uri", lambda *_: "s3://user:secret@bucket/models")
    return workspace


def test_files_out_of_reach_are_not_called_lost(elsewhere: Layout) -> None:
    client = open_store(elsewhere)
    version = version_in_stage(client, MODEL, "Production")
    assert version is not None
    for use in (
        lambda: require_graph(client, elsewhere, version),
        lambda: roll_back(client, elsewhere, MODEL, "a test"),
        lambda: Evidence(client, elsewhere, []).contestant(version),
        lambda: require_reachable(client, "s3://bucket/models"),
        lambda: publish(elsewhere, settings_of(elsewhere.home)),
    ):
        with pytest.raises(UnreachableFilesError) as error:
            use()
        message = one_sentence(error)
        assert "s3://bucket/models, which this machine can't reach" in message
        assert "secret" not in message
    assert [(row.lost, row.unreachable) for row in overview(client, [MODEL])] == [(False, True)] * 3
    assert version_in_stage(client, MODEL, "Production") == version


def test_lost_files_are_told_in_a_whole_sentence(workspace: Layout) -> None:
    client = open_store(workspace)
    version = find_version(client, MODEL, "Production")
    Path(require_graph(client, workspace, version)).unlink()
    evidence = Evidence(client, workspace, read_results(workspace, settings_of(workspace.home)))
    with pytest.raises(LostVersionError) as error:
        evidence.contestant(version)
    message = one_sentence(error)
    assert message.startswith(f"{MODEL} version {version.number} can't be used: its files are lost; `dvc repro")
    assert error.value.reason == "its files are lost"
