"""Several clients of one store, clocks that go wrong, and versions that can't be used."""

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from factories import one_sentence
from medscreen.errors import MedscreenError
from medscreen.packaging.packaged_detector import PackagedDetector
from medscreen.registry import promotion as promotions
from medscreen.registry.decision_log import DecisionLog, Entry, OvertakenError
from medscreen.registry.gate_evidence import _passed_over
from medscreen.registry.promotion import promote_version, roll_back
from medscreen.registry.stages import one_at_a_time
from medscreen.registry.versions import find_version, named_filter, versions_of
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from workspaces import MODEL, graph_of, settings_of

pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")

CORNER, HALF, WHOLE = 1, 2, 3


@pytest.fixture
def colleague(workspace: Layout, tmp_path: Path) -> Layout:
    """Another checkout, with locks of its own, on the same store."""
    ignored = shutil.ignore_patterns("mlruns", ".medscreen")
    home = Path(shutil.copytree(workspace.home, tmp_path / "colleague", ignore=ignored))
    (home / "mlruns").symlink_to(workspace.mlruns)
    return Layout(home, home)


def to_production(number: int) -> Entry:
    return Entry(
        action="promote",
        title=f"version {number} to Production",
        reason="a test",
        version=number,
        stage="Production",
        replaced=WHOLE,
    )


def log_of(layout: Layout) -> DecisionLog:
    log = DecisionLog(open_store(layout), layout, MODEL)
    log.settle()
    return log


def production(layout: Layout) -> list[int]:
    return [version.number for version in versions_of(open_store(layout), MODEL) if version.stage == "Production"]


@pytest.mark.slow
def test_of_two_clients_that_promote_at_once_one_is_told_that_it_came_second(
    workspace: Layout, colleague: Layout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both have judged what is in Production before either writes."""
    judged = promotions._judged
    both = threading.Barrier(2, timeout=120)

    def together(*arguments: Any) -> Any:
        decision = judged(*arguments)
        both.wait()
        return decision

    monkeypatch.setattr(promotions, "_judged", together)
    ends: dict[int, str] = {}

    def promote(layout: Layout, number: int) -> None:
        client, params = open_store(layout), settings_of(layout.home)
        try:
            promote_version(client, layout, find_version(client, MODEL, str(number)), "Production", params, "a test")
            ends[number] = "done"
        except OvertakenError as error:
            ends[number] = str(error)

    clients = [threading.Thread(target=promote, args=pair) for pair in ((workspace, HALF), (colleague, CORNER))]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    (winner,) = (number for number, end in ends.items() if end == "done")
    (told,) = (end for end in ends.values() if end != "done")
    assert f"was faster: version {winner} " in told
    assert production(workspace) == [winner]
    entries = [entry for entry, _ in log_of(workspace).entries()]
    assert [entry.version for entry in entries] == [winner, WHOLE]


@pytest.mark.parametrize("first", [CORNER, HALF])
def test_a_decision_between_reading_and_writing_wins(
    workspace: Layout, colleague: Layout, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    ours, theirs = log_of(workspace), log_of(colleague)
    is_next = DecisionLog._is_next

    def late(log: DecisionLog, *arguments: Any) -> bool:
        monkeypatch.setattr(DecisionLog, "_is_next", is_next)
        theirs.record(to_production(first), {})
        return is_next(log, *arguments)

    monkeypatch.setattr(DecisionLog, "_is_next", late)
    with pytest.raises(OvertakenError, match="was faster"):
        ours.record(to_production(CORNER + HALF - first), {})
    assert production(workspace) == [first]
    assert [entry.number for entry, _ in log_of(workspace).entries()] == [2, 1]


def test_decisions_that_move_nothing_are_both_kept(workspace: Layout, colleague: Layout) -> None:
    refused = Entry(action="promote", title="refused", reason="a test")
    ours, theirs = log_of(workspace), log_of(colleague)
    theirs.record(refused, {})
    ours.record(refused, {})
    assert [entry.number for entry, _ in ours.entries()] == [3, 2, 1]


def test_a_deleted_decision_is_no_obstacle(workspace: Layout) -> None:
    client = open_store(workspace)
    for number in (HALF, CORNER, HALF):
        log = log_of(workspace)
        log.record(to_production(number), {})
        client.delete_run(log.entries()[0][1].info.run_id)
    log_of(workspace).record(to_production(CORNER), {})
    assert production(workspace) == [CORNER]


@pytest.mark.parametrize("damage", ["cut off", "not opened"])
def test_neither_rollback_nor_promotion_takes_what_cannot_be_loaded(
    workspace: Layout, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, params = open_store(workspace), settings_of(workspace.home)
    promote_version(client, workspace, find_version(client, MODEL, str(HALF)), "Production", params, "a test")
    path = graph_of(client, workspace, find_version(client, MODEL, str(WHOLE)))
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:1000])
    else:  # the graph of then, and an ONNX Runtime of now that does not know it

        def opened(graph: Path) -> PackagedDetector:
            if graph == path:
                raise MedscreenError(f"{graph} can't be loaded:\n\nopset 99")
            return PackagedDetector(graph)

        monkeypatch.setattr(promotions, "PackagedDetector", opened)
    with pytest.raises(MedscreenError) as error:
        roll_back(client, workspace, MODEL, "a test")
    message = one_sentence(error)
    assert "version 3: " in message
    assert "Versions that can be used: 1; `medscreen promote VERSION` puts one there" in message
    for stage in ("Staging", "Production"):
        with pytest.raises(MedscreenError, match="version 3 can't be used"):
            promote_version(client, workspace, find_version(client, MODEL, str(WHOLE)), stage, params, "a test")
    assert production(workspace) == [HALF]


def test_what_came_later_is_a_matter_of_numbers_not_of_clocks(workspace: Layout) -> None:
    client, params = open_store(workspace), settings_of(workspace.home)
    half, whole = (find_version(client, MODEL, str(number)) for number in (HALF, WHOLE))
    promote_version(client, workspace, half, "Production", params, "a test")
    chosen = log_of(workspace).choice_of(HALF)
    assert chosen is not None
    assert chosen[0].newest == WHOLE
    for clock in (0, 2**42):  # the choice long before every version, and long after
        assert "was already registered" in _passed_over(whole, half, (chosen[0], clock))
        later = type(whole)(MODEL, WHOLE + 1, "None", whole.run_id, whole.made, whole.tags)
        assert _passed_over(later, half, (chosen[0], clock)) == ""


@pytest.mark.parametrize("name", ["../../data", "Bob's model (v2)", 'a "quoted" one', "/etc", "x" * 300])
def test_names_of_a_servers_models_lead_nowhere(workspace: Layout, name: str) -> None:
    before = sorted(workspace.home.rglob("*"))
    with one_at_a_time(workspace, name, wait=False):
        pass
    new = set(workspace.home.rglob("*")) - set(before)
    assert all(path.parent == workspace.scratch / "locks" or path == workspace.scratch / "locks" for path in new)
    assert open_store(workspace).search_model_versions(named_filter(name)) == []
