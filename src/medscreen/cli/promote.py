"""Commands promote and rollback: versions move between stages of the registry."""

from typing import Literal

import click

from medscreen.cli.registry_access import open_registry
from medscreen.errors import MedscreenError
from medscreen.runtime.escaping import say


@click.command()
@click.argument("version", required=False)
@click.option(
    "--to",
    "stage",
    type=click.Choice(["Staging", "Production"]),
    default="Production",
    show_default=True,
    help="Stage.",
)
@click.option("--force", is_flag=True, help="Promote against the gate; requires --reason; recorded.")
@click.option("--reason", default="", help="Reason for overruling the gate.")
@click.option("--name", help="Registered model; by default that of the active data set.")
def promote(
    version: str | None, stage: Literal["Staging", "Production"], force: bool, reason: str, name: str | None
) -> None:
    """Moves VERSION to Production or Staging.

    Without VERSION, the version in Staging moves to Production, or with --to Staging the newest one without a stage.
    Production requires passing the gate (promotion: in params.yaml). The promotion log records all decisions.

    Example: `medscreen promote 3 --to Staging`
    """
    from medscreen.registry.promotion import promote_version
    from medscreen.registry.versions import find_version, version_in_stage, versions_of

    if force != bool(reason.strip()):
        raise MedscreenError(
            "--force and --reason go together: state why the gate is overruled; the promotion log records it."
        )
    registry = open_registry(name)
    client, model = registry.client, registry.model
    if version is not None:
        chosen = find_version(client, model, version)
    else:
        unplaced = (one for one in versions_of(client, model) if one.stage == "None")
        found = version_in_stage(client, model, "Staging") if stage == "Production" else next(unplaced, None)
        if found is None:
            where = "in Staging" if stage == "Production" else "without a stage"
            raise MedscreenError(f"{model} has no version {where}; name one: medscreen promote VERSION.")
        chosen = found
    decision = promote_version(client, registry.layout, chosen, stage, registry.params, reason.strip())
    say(f"{chosen} ({chosen.detector}) is in {stage}.")
    if decision is not None:
        for check in decision.checks:
            say(f"  {'yes' if check.passed else 'NO '}  {check.name}: {check.says}")


@click.command()
@click.option("--reason", default="", help="Reason; recorded in the promotion log.")
@click.option("--name", help="Registered model; by default that of the active data set.")
def rollback(reason: str, name: str | None) -> None:
    """Moves the previous version back to Production.

    The current version is archived. `dvc repro` never promotes it again; `medscreen promote VERSION --force --reason
    WHY` does.

    Example: `medscreen rollback --reason "too many false alarms"`
    """
    from medscreen.registry.promotion import roll_back

    registry = open_registry(name)
    former, now = roll_back(registry.client, registry.layout, registry.model, reason.strip() or "no reason given")
    say(f"{now} ({now.detector}) is in Production again; version {former.number} ({former.detector}) is archived.")
