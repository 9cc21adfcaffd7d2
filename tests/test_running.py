"""How a stage ends when the system fails it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from factories import unstated
from medscreen.pipeline.stage_runner import run_stage
from medscreen.workspace.layout import Layout

# MLflow's own, when it is first imported
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")


def failing(number: int) -> Callable[..., None]:
    def stage(*_: object) -> None:
        raise OSError(number, os.strerror(number), "data/curation.json")

    return stage


@pytest.mark.parametrize(
    ("number", "way_out"),
    [
        (errno.ENOSPC, "Make room"),
        (errno.EDQUOT, "Make room"),
        (errno.EFBIG, "Make room"),
        (errno.EIO, "run the command again"),
    ],
)
def test_a_fault_of_the_system_is_a_sentence(
    workspace: Layout,
    loaded_registry: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
    number: int,
    way_out: str,
) -> None:
    loaded_registry(workspace.workspace)
    with pytest.raises(SystemExit) as ended:
        run_stage("curate", failing(number))
    assert ended.value.code == 1
    (line,) = [message for message in capsys.readouterr().err.splitlines() if message.startswith("medscreen curate: ")]
    assert not unstated(line, "data/curation.json", os.strerror(number), way_out)


def test_a_fault_of_the_code_keeps_its_traceback(workspace: Layout, loaded_registry: Callable[[Path], None]) -> None:
    loaded_registry(workspace.workspace)

    def stage(*_: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_stage("curate", stage)
