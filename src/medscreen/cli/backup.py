"""Commands backup and restore for the MLflow history and the studies."""

from datetime import UTC, datetime
from pathlib import Path

import click

from medscreen.runtime.escaping import say
from medscreen.workspace.layout import find_layout


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
def backup(file: Path | None) -> None:
    """Writes the MLflow history and the studies to FILE.

    The backup holds runs, registered versions, promotions and studies; training may run meanwhile. FILE must not exist;
    by default it is mlruns-DATE.tar.gz in the working directory.
    """
    from medscreen.tracking.backups import back_up

    layout = find_layout()
    made = back_up(layout, file or Path(f"mlruns-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"))
    say(
        f"{made.path}: runs {made.runs}, registered versions {made.versions}, files {made.files}, "
        f"{made.size / 1e6:.1f} MB."
    )


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def restore(file: Path) -> None:
    """Restores the MLflow history and the studies from FILE.

    The previous mlruns/ and studies/ are kept beside the restored ones.

    Example: `medscreen restore mlruns-20260131T120000Z.tar.gz`
    """
    from medscreen.registry.versions import model_names, version_in_stage
    from medscreen.tracking.backups import restore as put_back
    from medscreen.tracking.store import open_store

    layout = find_layout()
    former = put_back(layout, file)
    if former is not None:
        say(f"The former store is kept as {former}.")
    client = open_store(layout)
    in_production = [version_in_stage(client, model, "Production") for model in model_names(client)]
    for version in in_production:
        if version is not None:
            say(f"In Production: {version} ({version.detector}).")
    if not any(in_production):
        say("Nothing is in Production.")
