"""Looking at studies."""

import click

from medscreen.workspace.layout import find_layout


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port on 127.0.0.1.")
@click.option("--storage", help="As of `medscreen study`: a database's address, or a journal's file.")
def dashboard(port: int, storage: str | None) -> None:
    """Opens optuna-dashboard on the studies of this checkout, until Ctrl-C."""
    from medscreen.studies.dashboard_server import serve_dashboard

    serve_dashboard(find_layout(), port, storage)
