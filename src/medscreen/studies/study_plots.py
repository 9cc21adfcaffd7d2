"""Optuna's plots of a study, sized and labeled for PNG files."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
from matplotlib import pyplot as plt
from optuna.trial import TrialState
from optuna.visualization import matplotlib as plots

from medscreen.reporting.evaluation_report.canvas import save_figure
from medscreen.studies.importances import Importance, varies
from medscreen.studies.optuna_logging import quiet
from medscreen.studies.trial_attributes import OBJECTIVES

_MOST_PAIRED = 3  # parameters in contour and rank, which have one panel per pair
_DPI, _SMALL, _LONG_LABEL = 120, 7, 8
_INCHES_A_PANEL = 2.6


def auroc_study(study: optuna.Study) -> optuna.Study:
    """A copy of the study in memory with AUROC as its only objective.

    Optuna minimizes explicit targets: plots and importances of a study with two objectives would show the worst trials.
    """
    single = optuna.create_study(study_name=study.study_name, direction="maximize")
    for trial in study.get_trials(deepcopy=False):
        kept = copy.copy(trial)
        kept.values = trial.values[:1] if trial.values else None
        single.add_trial(kept)
    return single


def save_plots(study: optuna.Study, shares: Sequence[Importance], folder: Path) -> None:
    """Writes to `folder` the plots for which there are enough trials.

    history.png; slice.png and parallel_coordinates.png if a parameter varies; importances.png, contour.png and rank.png
    if importances could be computed; pareto_front.png for two objectives.
    """
    with quiet():
        single = auroc_study(study)
        completed = single.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        if not completed:
            return
        names = sorted({name for trial in completed for name in trial.params if varies(name, completed)})
        ranked = [row.parameter for row in shares if row.ped_anova is not None or row.fanova is not None]
        paired = ranked[:_MOST_PAIRED]
        title = f"{study.study_name}: {len(single.trials)} trials, {len(completed)} completed"
        value: dict[str, Any] = {"target_name": OBJECTIVES[0]}

        def save(file: str, width: float, height: float, plot: Callable[..., Any], *args: Any, **options: Any) -> None:
            _save(folder / f"{file}.png", title, (width, height), lambda: plot(*args, **options))

        save("history", 7.5, 4.2, plots.plot_optimization_history, single, **value)
        if names:
            save("slice", _INCHES_A_PANEL * len(names) + 1, 3.2, plots.plot_slice, single, params=names, **value)
            width = max(6.0, 1.3 * (len(names) + 1))
            save("parallel_coordinates", width, 4.8, plots.plot_parallel_coordinate, single, params=names, **value)
        if ranked:
            height = 1.4 + 0.42 * len(ranked)
            save("importances", 7.5, height, plots.plot_param_importances, single, params=ranked, **value)
        if len(paired) > 1:
            side = _INCHES_A_PANEL * len(paired)
            save("contour", side + 1, side, plots.plot_contour, single, params=paired, **value)
            save("rank", side + 1, side, plots.plot_rank, single, params=paired, **value)
        if len(study.directions) > 1:
            save("pareto_front", 6.4, 4.6, plots.plot_pareto_front, study, target_names=list(OBJECTIVES))


def _save(path: Path, title: str, size: tuple[float, float], plot: Callable[[], Any]) -> None:
    # Optuna draws on pyplot's current figure and sets a global style
    with plt.rc_context({"savefig.dpi": _DPI, "savefig.bbox": "tight", "font.size": _SMALL}):
        plot()
        figure = plt.gcf()
        figure.set_size_inches(*size)
        figure.suptitle(title, fontsize=9)
        for axes in figure.axes:
            axes.tick_params(which="both", labelsize=_SMALL)
            place = axes.get_subplotspec()
            if place is not None and place.get_gridspec().nrows > 1:
                axes.label_outer()  # labels of inner panels would overlap their neighbors
            for axis in (axes.xaxis, axes.yaxis):
                axis.label.set_fontsize(_SMALL + 1)
            labels = axes.get_xticklabels()
            if any(len(label.get_text()) > _LONG_LABEL for label in labels):
                plt.setp(labels, rotation=25, ha="right")
        save_figure(figure, path)
        plt.close(figure)
