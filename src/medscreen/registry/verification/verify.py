"""Every check of a registered version, in the order in which people read them."""

from functools import partial

from mlflow import MlflowClient

from medscreen.config.params import Params
from medscreen.registry.run_record import Record
from medscreen.registry.verification import version_checks, workspace_checks
from medscreen.registry.verification.finding import (
    CODE,
    DATA,
    ENVIRONMENT,
    OBJECTS,
    OPERATING_POINT,
    PACKAGE,
    PARAMETERS,
    RECORD,
    SCORES,
    Finding,
    findings,
)
from medscreen.registry.versions import Version
from medscreen.workspace.layout import Layout

_OF_THE_LINEAGE = (
    (RECORD, version_checks.check_tags),
    (RECORD, version_checks.check_trained_on),
    (RECORD, version_checks.check_logged_params),
    (DATA, workspace_checks.check_splits),
    (DATA, workspace_checks.check_sources),
    (PARAMETERS, workspace_checks.check_parameters),
    (CODE, workspace_checks.check_code),
    (OBJECTS, workspace_checks.check_objects),
    (ENVIRONMENT, workspace_checks.check_environment),
)


def verify(client: MlflowClient, layout: Layout, params: Params, version: Version) -> list[Finding]:
    """Whatever can be computed again of a version, compared with the record; nothing is changed, made or downloaded."""
    record = Record(client, layout, version)
    checks = [
        (PACKAGE, version_checks.check_package),
        (OPERATING_POINT, version_checks.check_operating_point),
        (RECORD, version_checks.check_lineage),
        (RECORD, version_checks.check_card),
        (RECORD, version_checks.check_logged_metrics),
        (RECORD, version_checks.check_decision),
        (SCORES, partial(workspace_checks.check_scores, threads=params.compute.threads)),
        *(_OF_THE_LINEAGE if record.lineage else ()),
    ]
    found = [finding for subject, check in checks for finding in findings(subject, check(record))]
    if not record.lineage:
        nothing = "the version keeps no lineage to compare with"
        found += [
            Finding(subject, "unreachable", nothing) for subject in (DATA, PARAMETERS, CODE, OBJECTS, ENVIRONMENT)
        ]
    return found
