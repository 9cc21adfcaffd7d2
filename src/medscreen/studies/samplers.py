"""Optuna's samplers and pruners as configured in params.yaml."""

import numpy as np
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from medscreen.config.studies import (
    HyperbandPrunerParams,
    MedianPrunerParams,
    NoPrunerParams,
    StudyParams,
    WilcoxonPrunerParams,
)
from medscreen.studies.optuna_logging import quiet


def sampler_of(params: StudyParams, *numbers: int) -> BaseSampler:
    """The sampler, seeded by `numbers`, which include the number of trials so that a resumed study repeats no draws."""
    seed = int(np.random.SeedSequence(list(numbers)).generate_state(1)[0])
    with quiet():
        match params.sampler:
            case "tpe":
                # group: with several entries, each part of the space is sampled separately
                return TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True)
            case "gp":
                return GPSampler(seed=seed)
            case "random":
                return RandomSampler(seed=seed)


def pruner_of(params: StudyParams, epochs: int) -> BasePruner:
    """The pruner for trials of `epochs` epochs."""
    pruner = params.pruner
    with quiet():
        match pruner:
            case MedianPrunerParams():
                return MedianPruner(n_startup_trials=pruner.startup_trials, n_warmup_steps=pruner.warmup_epochs)
            case HyperbandPrunerParams():
                return HyperbandPruner(pruner.least_epochs, max(epochs, pruner.least_epochs), pruner.reduction)
            case WilcoxonPrunerParams():
                return WilcoxonPruner(p_threshold=pruner.level, n_startup_steps=pruner.warmup_epochs)
            case NoPrunerParams():
                return NopPruner()
