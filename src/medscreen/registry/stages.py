"""Stages and the aliases of the same meaning, changed together and by one process at a time.

Stages are what this project's users load by, aliases are what MLflow will keep. MLflow moves a version into a stage,
and the former one out of it, in one transaction: so stages are the truth, and aliases follow them.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from filelock import FileLock, Timeout
from google.protobuf.json_format import ParseError
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from medscreen.errors import MedscreenError
from medscreen.workspace.digests import digest_of
from medscreen.workspace.layout import Layout

STAGES = ("Staging", "Production", "Archived")


class BusyError(MedscreenError):
    """Another process is changing the stages."""


@contextmanager
def one_at_a_time(layout: Layout, model: str, wait: bool) -> Iterator[None]:
    """Holds the stages of a registered model; raises BusyError if another process does, unless `wait`."""
    folder = layout.scratch / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / f"stages-{digest_of(model)}.lock")  # a server's models may have any name
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout as error:
        raise BusyError(
            f"Another promotion or rollback of {model} is under way; nothing was changed here, run it again when that "
            "one has ended."
        ) from error
    try:
        yield
    finally:
        lock.release()


def in_stage(client: MlflowClient, model: str, stage: str) -> ModelVersion | None:
    """The version in that stage, None if there is none; where MLflow holds several, the one that has the alias."""
    if stage not in STAGES:
        raise MedscreenError(f"{stage!r} is no stage; the stages are {', '.join(STAGES)}.")
    found = [version for version in search_versions(client, model) if version.current_stage == stage]
    if len(found) > 1:  # of the archived ones it is what Production gave up last
        alias = client.get_registered_model(model).aliases.get(stage.lower())
        found = [version for version in found if str(version.version) == str(alias)] or found
    return max(found, key=_moved) if found else None


def move(client: MlflowClient, model: str, number: int, stage: str) -> None:
    """Puts a version into a stage; the one that was in Staging or Production before is archived."""
    with quiet():
        client.transition_model_version_stage(model, str(number), stage, archive_existing_versions=stage != "Archived")


def align(client: MlflowClient, model: str, moved: Mapping[str, int | None], archived: int | None) -> None:
    """Leaves one version in Staging and in Production each, and sets the aliases to what the stages say.

    `moved`: stage -> the version that was moved there last, by the log; it stays where MLflow holds several. `archived`
    is the version that the alias of that name is to have, if it is archived.
    """
    versions = search_versions(client, model)
    if not versions:
        return
    aliases: dict[str, int | None] = {}
    for stage in ("Staging", "Production"):
        # two clients of a server that promote at the same moment can leave two
        in_it = [int(v.version) for v in sorted(versions, key=_moved) if v.current_stage == stage]
        last = moved.get(stage)
        stays = last if last in in_it else next(reversed(in_it), None)
        for other in in_it:
            if other != stays:
                move(client, model, other, "Archived")
        aliases[stage.lower()] = stays
    is_archived = any(int(v.version) == archived and v.current_stage == "Archived" for v in versions)
    aliases["archived"] = archived if is_archived else None
    now = {alias: int(version) for alias, version in client.get_registered_model(model).aliases.items()}
    for alias, wanted in aliases.items():
        if wanted is not None and now.get(alias) != wanted:
            client.set_registered_model_alias(model, alias, str(wanted))
        elif wanted is None and alias in now:
            client.delete_registered_model_alias(model, alias)


def search_versions(client: MlflowClient, model: str) -> list[ModelVersion]:
    """Every version of a registered model; raises MedscreenError where one has values that MLflow gives to none."""
    try:
        with quiet():
            return [checked_version(version) for version in client.search_model_versions(named_filter(model))]
    except ParseError as error:
        raise _foreign(f"a version of {model}", error) from error


def checked_version(version: ModelVersion) -> ModelVersion:
    """The version, as it is; raises MedscreenError where its number is none or its times are no times."""
    try:
        int(version.version)
        for milliseconds in (version.creation_timestamp, version.last_updated_timestamp or 0):
            datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, TypeError, OverflowError, OSError) as error:
        raise _foreign(f"version {version.version} of {version.name}", error) from error
    return version


def _foreign(subject: str, error: Exception) -> MedscreenError:
    return MedscreenError(
        f"The store's answer for {subject} is none that MLflow gives ({' '.join(str(error).split())[:100]}). Check "
        "that MLFLOW_TRACKING_URI names an MLflow server; of the checkout's own store, `medscreen restore` brings a "
        "backup back."
    )


def named_filter(model: str) -> str:
    """MLflow's filter for the versions of a model: others' may have an apostrophe in their name."""
    quote = '"' if "'" in model else "'"
    return f"name = {quote}{model}{quote}"


def _moved(version: ModelVersion) -> tuple[int, int]:
    return version.last_updated_timestamp or 0, int(version.version)


@contextmanager
def quiet() -> Iterator[None]:
    """Without MLflow's word that stages are deprecated: docs/decisions says why they are used."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
