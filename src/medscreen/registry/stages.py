"""Stages and the aliases of the same meaning, changed together and by one process at a time.

Stages are what this project's users load by, aliases are what MLflow will keep. MLflow moves a version into a stage,
and the former one out of it, in one transaction: so stages are the truth, and aliases follow them.
"""

import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager

from mlflow import MlflowClient

from medscreen.errors import MedscreenError
from medscreen.registry.versions import versions_of
from medscreen.workspace.digests import digest_of
from medscreen.workspace.layout import Layout
from medscreen.workspace.process_lock import process_lock


class BusyError(MedscreenError):
    """Another process is changing the stages."""


def one_at_a_time(layout: Layout, model: str, wait: bool) -> AbstractContextManager[None]:
    """Holds the stages of a registered model; raises BusyError if another process does, unless `wait`."""
    busy = BusyError(
        f"Another promotion or rollback of {model} is under way; nothing was changed here, run it again when that one "
        "has ended."
    )
    # by a digest: a server's models may have any name
    return process_lock(layout.scratch / "locks" / f"stages-{digest_of(model)}.lock", None if wait else busy)


def move(client: MlflowClient, model: str, number: int, stage: str) -> None:
    """Puts a version into a stage; the one that was in Staging or Production before is archived."""
    with warnings.catch_warnings():
        # MLflow calls stages deprecated: docs/decisions has the reason for using them
        warnings.simplefilter("ignore", FutureWarning)
        client.transition_model_version_stage(model, str(number), stage, archive_existing_versions=stage != "Archived")


def align(client: MlflowClient, model: str, moved: Mapping[str, int | None], archived: int | None) -> None:
    """Leaves one version in Staging and in Production each, and sets the aliases to those of the stages.

    `moved`: stage -> the version that was moved there last, by the log; it stays where MLflow holds several. `archived`
    is the version that the alias of that name is to have, if it is archived.
    """
    versions = sorted(versions_of(client, model), key=lambda version: (version.changed, version.number))
    if not versions:
        return
    is_archived = any(version.number == archived and version.stage == "Archived" for version in versions)
    aliases = {"archived": archived if is_archived else None}
    for stage in ("Staging", "Production"):
        # two clients of a server that promote at the same moment can leave two
        in_it = [version.number for version in versions if version.stage == stage]
        stays = moved[stage] if moved.get(stage) in in_it else next(reversed(in_it), None)
        for other in in_it:
            if other != stays:
                move(client, model, other, "Archived")
        aliases[stage.lower()] = stays
    now = {alias: int(version) for alias, version in client.get_registered_model(model).aliases.items()}
    for alias, wanted in aliases.items():
        if wanted is not None and now.get(alias) != wanted:
            client.set_registered_model_alias(model, alias, str(wanted))
        elif wanted is None and alias in now:
            client.delete_registered_model_alias(model, alias)
