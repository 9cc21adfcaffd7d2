"""Looking at what was tracked."""

import click

from medscreen.layout import find_layout


@click.command()
@click.option("--port", default=5000, show_default=True, help="Port on 127.0.0.1.")
def ui(port: int) -> None:
    """Opens MLflow on mlruns/; Ctrl-C ends it."""
    from medscreen.tracking import serve_ui

    serve_ui(find_layout(), port)
