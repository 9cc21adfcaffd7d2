"""Objects of MLflow that people delete or lose: no command fails, publish makes again what the workspace has."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from PIL import Image

from medscreen import load_detector
from medscreen.cli import commands
from medscreen.errors import MedscreenError
from medscreen.pipeline.publish import publish
from medscreen.registry.promotion import promote_version
from medscreen.registry.versions import find_version, require_graph, versions_of
from medscreen.tracking.server import as_default
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from workspaces import MODEL, film, fit_by_hand, settings_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning", "ignore::FutureWarning"),
]

CORNER, OLD, PRODUCTION, NEWEST = 1, 2, 3, 4
EACH = (CORNER, OLD, PRODUCTION, NEWEST)
Damage = Callable[[MlflowClient, Layout, tuple[int, ...]], None]


def version_deleted(client: MlflowClient, layout: Layout, numbers: tuple[int, ...]) -> None:
    for number in numbers:
        client.delete_model_version(MODEL, str(number))


def model_deleted(client: MlflowClient, layout: Layout, numbers: tuple[int, ...]) -> None:
    client.delete_registered_model(MODEL)


def run_deleted(client: MlflowClient, layout: Layout, numbers: tuple[int, ...]) -> None:
    for number in numbers:
        client.delete_run(find_version(client, MODEL, str(number)).run_id)


def logged_model_deleted(client: MlflowClient, layout: Layout, numbers: tuple[int, ...]) -> None:
    for number in numbers:
        client.delete_logged_model(client.get_model_version(MODEL, str(number)).source.rpartition("/")[2])


def experiment_deleted(client: MlflowClient, layout: Layout, numbers: tuple[int, ...]) -> None:
    client.delete_experiment(client.get_experiment_by_name("films").experiment_id)


def decisions_deleted(client: MlflowClient, layout: Layout, numbers: tuple[int, ...]) -> None:
    client.delete_experiment(client.get_experiment_by_name(f"{MODEL} decisions").experiment_id)


def last_decision_deleted(client: MlflowClient, layout: Layout, numbers: tuple[int, ...]) -> None:
    experiment = client.get_experiment_by_name(f"{MODEL} decisions").experiment_id
    client.delete_run(client.search_runs([experiment])[0].info.run_id)


def collected(damage: Damage) -> Damage:
    """The damage, and `mlflow gc` after it."""

    def both(client: MlflowClient, layout: Layout, numbers: tuple[int, ...]) -> None:
        damage(client, layout, numbers)
        from mlflow.cli import gc  # which warns of MLflow's own type hints

        with as_default(client):
            done = CliRunner().invoke(gc, ["--backend-store-uri", client.tracking_uri])
        assert done.exit_code == 0, done.output

    both.__name__ = f"{damage.__name__}_and_collected"
    return both


def run_and_logged_model_deleted(client: MlflowClient, layout: Layout, numbers: tuple[int, ...]) -> None:
    logged_model_deleted(client, layout, numbers)
    run_deleted(client, layout, numbers)


def files_removed(client: MlflowClient, layout: Layout, numbers: tuple[int, ...]) -> None:
    shutil.rmtree(layout.mlruns / "artifacts")


def graphs_removed(client: MlflowClient, layout: Layout, numbers: tuple[int, ...]) -> None:
    for number in numbers:
        location = client.get_model_version_download_uri(MODEL, str(number)).removeprefix("file://")
        (Path(location) / "model.onnx").unlink()
        (Path(location) / "MLmodel").write_text("\0: [")


def record_removed(client: MlflowClient, layout: Layout, numbers: tuple[int, ...]) -> None:
    for name in ("lineage.json", "scores.parquet", "evaluation.json", "card.md"):
        for path in layout.mlruns.rglob(name):
            path.unlink()


def record_damaged(client: MlflowClient, layout: Layout, numbers: tuple[int, ...]) -> None:
    for name in ("lineage.json", "trained_on.parquet", "scores.parquet", "evaluation.json", "decision.json"):
        for path in layout.mlruns.rglob(name):
            path.write_bytes(b"\0" * 99)


def numbers_removed(client: MlflowClient, layout: Layout, numbers: tuple[int, ...]) -> None:
    with closing(sqlite3.connect(layout.mlruns / "mlflow.db")) as database, database:
        for table in ("metrics", "latest_metrics", "params", "model_version_tags"):
            database.execute(f"delete from {table}")  # noqa: S608


def stages_taken(client: MlflowClient, layout: Layout, numbers: tuple[int, ...]) -> None:
    for number in numbers:
        client.transition_model_version_stage(MODEL, str(number), "None")


def aliases_changed(client: MlflowClient, layout: Layout, numbers: tuple[int, ...]) -> None:
    client.delete_registered_model_alias(MODEL, "staging")
    client.set_registered_model_alias(MODEL, "production", str(CORNER))
    client.set_registered_model_alias(MODEL, "mine", str(NEWEST))


OF_VERSIONS = (
    version_deleted,
    run_deleted,
    collected(run_deleted),
    logged_model_deleted,
    collected(logged_model_deleted),
    collected(run_and_logged_model_deleted),
    graphs_removed,
    stages_taken,
)
OF_ALL = (
    model_deleted,
    experiment_deleted,
    collected(experiment_deleted),
    decisions_deleted,
    collected(decisions_deleted),
    last_decision_deleted,
    files_removed,
    record_removed,
    record_damaged,
    numbers_removed,
    aliases_changed,
)
CASES = [
    *((damage, (PRODUCTION,)) for damage in OF_VERSIONS),
    (collected(run_and_logged_model_deleted), (OLD,)),
    *((damage, EACH) for damage in (version_deleted, collected(run_and_logged_model_deleted), *OF_ALL)),
]


@pytest.fixture(scope="module")
def used(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 2 is in Staging and none of the workspace's, 3 in Production, 4 the newest."""
    home = Path(shutil.copytree(published, tmp_path_factory.mktemp("used") / "used"))
    layout = Layout(home, home)
    client, params = open_store(layout), settings_of(home)
    promote_version(client, layout, find_version(client, MODEL, str(OLD)), "Staging", params, "")
    fit_by_hand(layout, "half", (1, 0.1, 0, 0))
    publish(layout, params)
    Image.fromarray(film(1, 1)).save(home / "film.png")
    return home


@pytest.fixture
def layout(used: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Layout]:
    home = Path(shutil.copytree(used, tmp_path / "gone"))
    elsewhere = home / "data"
    monkeypatch.chdir(elsewhere)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", "sqlite:////nowhere/at/all.db")
    yield Layout(home, home)
    assert not list(home.rglob("mlflow.db"))[1:]  # the store's own alone
    assert not (elsewhere / "mlruns").exists()


def output_of(*arguments: str) -> str:
    """What a command prints; a mistake is one sentence, never a traceback."""
    done = CliRunner().invoke(commands, arguments, standalone_mode=False)
    if isinstance(done.exception, MedscreenError):
        assert len(str(done.exception).splitlines()) == 1
        return f"{done.output}{done.exception}"
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


LOOKING = (
    ("models",),
    ("models", "--log"),
    ("compare", "2", "Production"),
    ("verify", "2"),
    ("verify",),
    ("predict", "../film.png"),
    ("predict", "../film.png", "--stage", "Staging"),
    ("reproduce", "99"),
)
MOVING = (
    ("threshold", "2", "--policy", "f1"),
    ("threshold", "Production", "--policy", "f1"),
    ("promote", "4", "--force", "--reason", "test"),
    ("rollback", "--reason", "test"),
    ("promote", "2", "--to", "Staging"),
)


@pytest.mark.parametrize(("damage", "numbers"), CASES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_whatever_is_gone_no_command_fails_and_publish_makes_it_again(
    layout: Layout, damage: Damage, numbers: tuple[int, ...]
) -> None:
    client = open_store(layout)
    damage(client, layout, numbers)
    for arguments in LOOKING + (MOVING if numbers == EACH else ()):
        output_of(*arguments)
    publish(layout, settings_of(layout.home))
    assert load_detector(MODEL).image_size == 16
    versions = versions_of(client, MODEL)
    assert [version.stage for version in versions].count("Production") == 1
    for detector in ("corner", "half", "whole"):
        own = next(version for version in versions if version.detector == detector)
        run = client.get_run(own.run_id)
        assert (run.info.lifecycle_stage, run.info.status) == ("active", "FINISHED")
        require_graph(client, layout, own)
    for arguments in LOOKING[:5]:
        output_of(*arguments)


def test_a_version_is_made_again_once_and_keeps_its_stage(layout: Layout) -> None:
    client = open_store(layout)
    collected(run_and_logged_model_deleted)(client, layout, EACH)
    before = {version.number: version.stage for version in versions_of(client, MODEL)}
    assert (output_of("models").count("(files lost)"), output_of("models").count("(run lost)")) == (4, 4)
    for _ in range(2):
        publish(layout, settings_of(layout.home))
        assert {version.number: version.stage for version in versions_of(client, MODEL)} == before
    table = output_of("models")  # but for the version that is none of the workspace's
    assert (table.count("(files lost)"), table.count("(run lost)")) == (1, 1)
    assert "0 changed" in output_of("verify", "Production")
    for run in client.search_runs([client.get_experiment_by_name("films").experiment_id]):
        assert run.info.status == "FINISHED"
