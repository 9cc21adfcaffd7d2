"""The `medscreen` command; one file per group of subcommands."""

import sys
from contextlib import suppress

import click

from medscreen.cli.backup import backup, restore
from medscreen.cli.dashboard import dashboard
from medscreen.cli.datasets import fetch, phantom, use
from medscreen.cli.explain import explain
from medscreen.cli.models import compare, models
from medscreen.cli.predict import predict
from medscreen.cli.promote import promote, rollback
from medscreen.cli.report import report, similar
from medscreen.cli.selftest import selftest
from medscreen.cli.serve import serve
from medscreen.cli.study import study
from medscreen.cli.threshold import threshold
from medscreen.cli.ui import ui
from medscreen.cli.verify import reproduce, verify
from medscreen.errors import MedscreenError
from medscreen.runtime.escaping import say
from medscreen.runtime.startup import prepare_process, use_own_temporary_folder
from medscreen.runtime.system_errors import fault
from medscreen.workspace.layout import find_layout


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="medscreen", message="%(prog)s %(version)s")
def commands() -> None:
    """Screens medical images for abnormalities. Research use only, never diagnosis.

    `medscreen COMMAND --help` describes a command.
    """


for command in (use, fetch, phantom, predict, explain, models, compare, promote, rollback, threshold):
    commands.add_command(command)
for command in (study, dashboard, verify, reproduce, backup, restore, ui, selftest, similar, report, serve):
    commands.add_command(command)


def main() -> None:
    """Runs the command; input and system errors are one sentence on stderr and exit status 2."""
    prepare_process()
    try:
        with suppress(MedscreenError):  # raised outside a checkout, which not all commands need
            use_own_temporary_folder(find_layout())
        commands(prog_name="medscreen", standalone_mode=False)  # not "__main__.py" after python -m
    except MedscreenError as error:
        sys.exit(_fail(str(error)))
    except click.ClickException as error:
        sys.exit(_fail(error.format_message()))
    except click.Abort:
        sys.exit(130)
    except Exception as error:
        if (sentence := fault(error)) is None:
            raise
        sys.exit(_fail(sentence))


def _fail(message: str) -> int:
    say(f"medscreen: {message}", err=True)
    return 2
