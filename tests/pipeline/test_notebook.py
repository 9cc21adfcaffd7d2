"""The tutorial notebook, executed cell by cell in a finished project."""

from pathlib import Path

import nbformat
from nbclient import NotebookClient

from factories import REPOSITORY


def test_the_notebook_runs_in_a_finished_project(finished: Path) -> None:
    notebook = nbformat.read(REPOSITORY / "docs" / "tutorials" / "results.ipynb", as_version=4)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code"), "it is kept without outputs"
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": finished}}).execute()
    (screened,) = notebook.cells[-1].outputs
    assert "deferred" in screened.data["text/plain"]
