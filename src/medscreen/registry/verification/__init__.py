"""Whether a registered version is what it was, and whether the workspace is still what it was made from."""

from mlflow import MlflowClient

from medscreen.config.params import Params
from medscreen.registry.run_record import Record
from medscreen.registry.verification.finding import (
    CODE,
    DATA,
    ENVIRONMENT,
    GROUPS,
    OBJECTS,
    OPERATING_POINT,
    PACKAGE,
    PARAMETERS,
    RECORD,
    SCORES,
    Finding,
    guarded,
    unreachable,
)
from medscreen.registry.verification.origin_checks import check_code, check_environment, check_objects
from medscreen.registry.verification.package_checks import check_operating_point, check_package
from medscreen.registry.verification.run_checks import (
    check_card,
    check_decision,
    check_lineage,
    check_logged_metrics,
    check_logged_params,
    check_tags,
    check_trained_on,
)
from medscreen.registry.verification.workspace_checks import (
    check_parameters,
    check_scores,
    check_sources,
    check_splits,
    other_dataset,
)
from medscreen.registry.versions import Version
from medscreen.workspace.layout import Layout

__all__ = ["GROUPS", "Finding", "verify"]


def verify(client: MlflowClient, layout: Layout, params: Params, version: Version) -> list[Finding]:
    """What can be computed again of a version, held against what was kept; nothing is changed, made or downloaded."""
    record = Record(client, layout, version)
    lineage = record.lineage
    elsewhere = other_dataset(layout, lineage) if lineage else ""
    checks = [
        (PACKAGE, check_package(record)),
        (OPERATING_POINT, check_operating_point(record, layout, elsewhere)),
        (RECORD, check_lineage(record)),
        (RECORD, check_tags(record)),
        (RECORD, check_trained_on(record)),
        (RECORD, check_card(record)),
        (RECORD, check_logged_params(record)),
        (RECORD, check_logged_metrics(record)),
        (RECORD, check_decision(record, layout)),
        (SCORES, check_scores(record, layout, params.compute.threads)),
    ]
    if lineage is None:
        says = "the version keeps no lineage to compare with"
        checks += [(subject, iter([unreachable(subject, says)])) for subject in (DATA, PARAMETERS, CODE, OBJECTS)]
        checks += [(ENVIRONMENT, iter([unreachable(ENVIRONMENT, says)]))]
    else:
        checks += [
            (DATA, check_splits(layout, lineage, elsewhere)),
            (DATA, check_sources(layout, lineage)),
            (PARAMETERS, check_parameters(record, layout)),
            (CODE, check_code(layout, lineage)),
            (OBJECTS, check_objects(layout, lineage)),
            (ENVIRONMENT, check_environment(lineage)),
        ]
    return [finding for subject, check in checks for finding in guarded(subject, check)]
