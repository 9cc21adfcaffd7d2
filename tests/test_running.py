"""How a stage ends when the system fails it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from medscreen.layout import Layout
from medscreen.stages.running import run_stage

# MLflow's own, when it is first imported
pytestmark = pytest.mark.filterwarnings("ignore:.*type hint is inferred as AnyType:UserWarning")


def failing(number: int) -> Callable[..., None]:
    def stage(*_: object) -> None:
        raise OSError(number, os.strerror(number), "data/curation.json")

    return stage


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_is_a_sentence(workspace: Layout, loaded_registry: Callable[[Path], None], number: int) -> None:
    loaded_registry(workspace.workspace)
    with pytest.raises(SystemExit) as ended:
        run_stage("curate", failing(number))
    said = f"medscreen curate: data/curation.json can't be written ({os.strerror(number)}); make room."
    assert ended.value.code == said


def test_another_error_of_the_system_is_not_called_a_full_disk(
    workspace: Layout, loaded_registry: Callable[[Path], None]
) -> None:
    loaded_registry(workspace.workspace)
    with pytest.raises(OSError, match="Input/output"):
        run_stage("curate", failing(errno.EIO))
