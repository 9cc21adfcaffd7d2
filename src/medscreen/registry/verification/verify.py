"""All checks of a registered version, in the order of the report."""

from functools import partial

from mlflow import MlflowClient

from medscreen.config.params import Params
from medscreen.registry.run_record import Record
from medscreen.registry.verification import version_checks, workspace_checks
from medscreen.registry.verification.finding import Finding, findings
from medscreen.registry.versions import Version
from medscreen.workspace.layout import Layout

_OF_THE_LINEAGE = (
    ("record", version_checks.check_tags),
    ("record", version_checks.check_trained_on),
    ("record", version_checks.check_logged_params),
    ("data", workspace_checks.check_splits),
    ("data", workspace_checks.check_sources),
    ("parameters", workspace_checks.check_parameters),
    ("code", workspace_checks.check_code),
    ("DVC objects", workspace_checks.check_objects),
    ("environment", workspace_checks.check_environment),
)


def verify(client: MlflowClient, layout: Layout, params: Params, version: Version) -> list[Finding]:
    """Recomputes what it can of a version and compares it with the record; writes and downloads nothing."""
    record = Record(client, layout, version)
    checks = [
        ("package", version_checks.check_package),
        ("operating point", version_checks.check_operating_point),
        ("record", version_checks.check_lineage),
        ("record", version_checks.check_card),
        ("record", version_checks.check_logged_metrics),
        ("record", version_checks.check_decision),
        ("scores", partial(workspace_checks.check_scores, threads=params.compute.threads)),
        *(_OF_THE_LINEAGE if record.lineage else ()),
    ]
    found = [finding for subject, check in checks for finding in findings(subject, check(record))]
    if not record.lineage:
        nothing = "the version has no lineage to compare with"
        subjects = [subject for subject in dict(_OF_THE_LINEAGE) if subject != "record"]
        found += [Finding(subject, "unreachable", nothing) for subject in subjects]
    return found
