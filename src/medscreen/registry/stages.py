"""Changes of registry stages and of the aliases of the same names, by one process at a time.

Users load versions by stage; MLflow deprecates stages in favor of aliases. MLflow moves a version into a stage and the
former one out of it in one transaction, so stages are authoritative and aliases are derived from them.
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
    """Lock on the stages of a registered model; if another process holds it, waits (`wait`) or raises BusyError."""
    busy = BusyError(
        f"{model}: another promotion or rollback is running; nothing was changed. Run the command again when it has "
        "ended."
    )
    # a digest, since names of models on a server may hold any character
    return process_lock(layout.scratch / "locks" / f"stages-{digest_of(model)}.lock", None if wait else busy)


def move(client: MlflowClient, model: str, number: int, stage: str) -> None:
    """Moves a version into a stage and archives the former version of Staging or Production."""
    with warnings.catch_warnings():
        # MLflow deprecates stages; docs/decisions has the reason for using them
        warnings.simplefilter("ignore", FutureWarning)
        client.transition_model_version_stage(model, str(number), stage, archive_existing_versions=stage != "Archived")


def align(client: MlflowClient, model: str, moved: Mapping[str, int | None], archived: int | None) -> None:
    """Keeps one version each in Staging and Production, archives others, and sets the aliases accordingly.

    `moved`: stage -> version that the decision log moved there last; of several in a stage, this one stays. `archived`:
    version for the alias `archived`, set if the version is in that stage.
    """
    versions = sorted(versions_of(client, model), key=lambda version: (version.changed, version.number))
    if not versions:
        return
    is_archived = any(version.number == archived and version.stage == "Archived" for version in versions)
    aliases = {"archived": archived if is_archived else None}
    for stage in ("Staging", "Production"):
        # concurrent promotions by two clients of a server can leave two
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
