"""Looking at what was tracked."""

import click

from medscreen.workspace.layout import find_layout


@click.command()
@click.option("--port", default=5000, show_default=True, help="Port on 127.0.0.1.")
def ui(port: int) -> None:
    """Opens MLflow on mlruns/ until Ctrl-C; where MLFLOW_TRACKING_URI names a server, says its address."""
    from medscreen.tracking.store import serve_ui

    serve_ui(find_layout(), port)
