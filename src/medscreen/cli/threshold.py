"""Command threshold: registers a copy of a version with another threshold."""

import click
from pydantic import ValidationError

from medscreen.cli.tables import simple_table
from medscreen.config.params import load_params
from medscreen.config.validation_errors import reason
from medscreen.errors import MedscreenError
from medscreen.runtime.escaping import Screen, say
from medscreen.workspace.layout import find_layout


@click.command()
@click.argument("version")
@click.option("--policy", required=True, help="Threshold policy: youden, f1, sensitivity, ...")
@click.option(
    "--with", "numbers", multiple=True, metavar="NAME=NUMBER", help="Parameter of the policy, such as at_least=0.95."
)
@click.option("--name", help="Registered model; by default that of the active data set.")
def threshold(version: str, policy: str, numbers: tuple[str, ...], name: str | None) -> None:
    """Registers a copy of VERSION with another threshold.

    VERSION is a number or a stage. The threshold is chosen on val; nothing is trained again. The new version has no
    stage.

    Example: `medscreen threshold 3 --policy sensitivity --with at_least=0.95`
    """
    from medscreen.registry.threshold_change import parse_policy, set_threshold
    from medscreen.registry.versions import find_version
    from medscreen.tracking.names import model_name
    from medscreen.tracking.store import open_store

    layout = find_layout()
    params = load_params(layout.params)
    try:
        pairs = [_number(text) for text in numbers]
        if len(dict(pairs)) < len(pairs):
            raise MedscreenError("--with: a parameter is given twice. Give each once.")
        chosen = parse_policy(policy, dict(pairs))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        where = "".join(f" {part}" for part in problem["loc"][1:])
        raise MedscreenError(
            f"--policy {policy}{where}: {reason([problem])}; params.yaml lists policies and parameters."
        ) from error
    client = open_store(layout)
    old = find_version(client, name or model_name(params.dataset), version)
    new = set_threshold(client, layout, old, chosen, params.evaluation, params.seed)
    if not new.is_new:
        say(f"{new.version} already has this operating point.")
    else:
        say(f"{new.version}: version {old.number} at {new.point.threshold:.6g}.")
    table = simple_table(None, numbers=("", *new.rates))
    for rate in new.rates["val"]:
        table.add_row(rate.replace("_", " "), *(_formatted(of_split[rate]) for of_split in new.rates.values()))
    Screen().print(table)


def _number(text: str) -> tuple[str, float]:
    name, _, value = text.partition("=")
    try:
        return name, float(value)
    except ValueError as error:
        raise MedscreenError(f"--with {text}: not NAME=NUMBER. Write it like --with at_least=0.95.") from error


def _formatted(estimate: dict[str, float | None]) -> str:
    from medscreen.evaluation.sample_size import TOO_FEW

    if estimate["value"] is None:
        return "-"
    ends = estimate["low"], estimate["high"]
    return TOO_FEW if None in ends else f"{estimate['value']:.3f} ({ends[0]:.3f} to {ends[1]:.3f})"
