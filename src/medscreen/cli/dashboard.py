"""Command dashboard: optuna-dashboard."""

import click

from medscreen.workspace.layout import find_layout


@click.command()
@click.option("--port", type=click.IntRange(1, 65535), default=8080, show_default=True, help="Port on 127.0.0.1.")
@click.option("--storage", help="Address of a database or a journal file, as for `medscreen study`.")
def dashboard(port: int, storage: str | None) -> None:
    """Opens optuna-dashboard on the studies until Ctrl-C."""
    from medscreen.studies.dashboard_server import serve_dashboard

    serve_dashboard(find_layout(), port, storage)
