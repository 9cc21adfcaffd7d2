"""Command ui: web interface of MLflow."""

import click

from medscreen.workspace.layout import find_layout


@click.command()
@click.option("--port", default=5000, show_default=True, help="Port on 127.0.0.1.")
def ui(port: int) -> None:
    """Opens MLflow on mlruns/ until Ctrl-C.

    If MLFLOW_TRACKING_URI names a server, prints its address.
    """
    from medscreen.tracking.store import serve_ui

    serve_ui(find_layout(), port)
