"""Killed anywhere in a publish or a threshold: the next publish leaves one version a result and no run open."""

import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from medscreen.config.operating import F1Policy
from medscreen.pipeline.publish import publish
from medscreen.registry.decision_log import DecisionLog
from medscreen.registry.threshold_change import set_threshold
from medscreen.registry.versions import find_version, require_graph, versions_of
from medscreen.tracking.store import open_store
from medscreen.workspace.layout import Layout
from test_registry_kills import run_until
from workspaces import MODEL, fit_by_hand, settings_of

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning"),
]

POINTS = 5


def publication(layout: Layout) -> None:
    publish(layout, settings_of(layout.home))


def threshold(layout: Layout) -> None:
    client, params = open_store(layout), settings_of(layout.home)
    version = find_version(client, MODEL, "Production")
    set_threshold(client, layout, version, F1Policy(policy="f1"), params.evaluation, 7)


def publish_after_another_policy(layout: Layout) -> None:
    """The run that a killed publish left has parameters that are no longer those of params.yaml."""
    path = layout.params
    path.write_text(path.read_text().replace("policy: youden", "policy: f1", 1))
    fit_by_hand(layout, "half", (1, 0.1, 0, 0))
    publication(layout)


def assert_whole(layout: Layout, point: int) -> None:
    client = open_store(layout)
    versions = versions_of(client, MODEL)
    assert max(Counter(version.digest for version in versions).values()) == 1, point
    assert [version.stage for version in versions].count("Production") == 1, point
    for version in versions:
        require_graph(client, layout, version)
        assert client.get_run(version.run_id).info.lifecycle_stage == "active", point
    experiments = [client.get_experiment_by_name(name).experiment_id for name in ("films", f"{MODEL} decisions")]
    assert {run.info.status for run in client.search_runs(experiments)} <= {"FINISHED", "KILLED"}, point
    assert all(run.info.status == "FINISHED" for _, run in DecisionLog(client, layout, MODEL).entries())


@pytest.mark.parametrize(
    ("command", "after"),
    [(publication, publication), (publication, publish_after_another_policy), (threshold, publication)],
)
def test_killed_at_points_the_next_publish_finishes_it(
    published: Path, tmp_path: Path, command: Callable[[Layout], None], after: Callable[[Layout], None]
) -> None:
    def copy(name: str) -> Layout:
        home = Path(shutil.copytree(published, tmp_path / name))
        fit_by_hand(Layout(home, home), "half", (1, 0.1, 0, 0))
        return Layout(home, home)

    moments = run_until(copy("whole").home, command, 0)
    assert moments > POINTS
    for number in range(POINTS):
        layout = copy(f"killed-{number}")
        point = 1 + number * (moments - 1) // POINTS + number
        assert run_until(layout.home, command, point) == point
        after(layout)
        assert_whole(layout, point)
        if command is threshold:
            threshold(layout)
            assert_whole(layout, point)
        shutil.rmtree(layout.home)
