"""Every check of a registered version, in the order in which people read them."""

from mlflow import MlflowClient

from medscreen.config.params import Params
from medscreen.registry.run_record import Record
from medscreen.registry.verification import origin_checks, package_checks, run_checks, workspace_checks
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
    Check,
    Finding,
    Status,
    findings,
)
from medscreen.registry.versions import Version
from medscreen.workspace.layout import Layout


def verify(client: MlflowClient, layout: Layout, params: Params, version: Version) -> list[Finding]:
    """Whatever can be computed again of a version, compared with the record; nothing is changed, made or downloaded."""
    record = Record(client, layout, version)
    lineage = record.lineage
    elsewhere = workspace_checks.other_dataset(layout, lineage) if lineage else ""
    checks: list[tuple[str, Check]] = [
        (PACKAGE, package_checks.check_package(record)),
        (OPERATING_POINT, package_checks.check_operating_point(record, layout, elsewhere)),
        (RECORD, run_checks.check_lineage(record)),
        (RECORD, run_checks.check_tags(record)),
        (RECORD, run_checks.check_trained_on(record)),
        (RECORD, run_checks.check_card(record)),
        (RECORD, run_checks.check_logged_params(record)),
        (RECORD, run_checks.check_logged_metrics(record)),
        (RECORD, run_checks.check_decision(record, layout)),
        (SCORES, workspace_checks.check_scores(record, layout, params.compute.threads)),
    ]
    if lineage is None:
        nothing: tuple[Status, str] = ("unreachable", "the version keeps no lineage to compare with")
        checks += [(subject, iter([nothing])) for subject in (DATA, PARAMETERS, CODE, OBJECTS, ENVIRONMENT)]
    else:
        checks += [
            (DATA, workspace_checks.check_splits(layout, lineage, elsewhere)),
            (DATA, workspace_checks.check_sources(layout, lineage)),
            (PARAMETERS, workspace_checks.check_parameters(record, layout)),
            (CODE, origin_checks.check_code(layout, lineage)),
            (OBJECTS, origin_checks.check_objects(layout, lineage)),
            (ENVIRONMENT, origin_checks.check_environment(lineage)),
        ]
    return [finding for subject, check in checks for finding in findings(subject, check)]
