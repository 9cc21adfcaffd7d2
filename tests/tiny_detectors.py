"""Every kind of detector with the smallest settings that show what it does; contract/ says what all of them promise."""

import copy
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import TypeAdapter

from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.roster import DetectorParams
from medscreen.detectors.build import build
from medscreen.detectors.shared.base import Detector

Settings = dict[str, Any]

TRAINING = {
    "epochs": 2, "batch_size": 16, "optimizer": "adamw",
    "learning_rate": 0.01, "weight_decay": 0.001, "ema_decay": 0.0, "patience": 2,
}  # fmt: skip

BASELINES: dict[str, Settings] = {
    name: {"kind": "statistic", "variant": name} for name in ("intensity", "gradient", "energy", "entropy")
}

LAYERS: Settings = {
    "down": [3, 6], "strides": [2, 2], "downsampling": "convolution", "up": [3, 3], "upsampling": "nearest",
    "output_kernel": 3, "activation": "silu", "norm": True, "dropout": 0.0, "output": "sigmoid",
}  # fmt: skip
POOLED = LAYERS | {
    "strides": [2, 1], "downsampling": "pooling", "upsampling": "transposed2", "norm": False, "activation": "relu",
    "dropout": 0.1,
}  # fmt: skip
TANH = LAYERS | {"up": [3, 1], "upsampling": "transposed3", "output_kernel": None, "output": "tanh"}
AUTOENCODER: Settings = {
    "kind": "autoencoder", "variant": "plain", "layers": LAYERS, "bottleneck": 4, "pose": 0.0, "noise": 0.0,
    "standardize": False,
    "score": "mse", "top_fraction": 1.0, "training": TRAINING,
}  # fmt: skip
VAE = AUTOENCODER | {"kind": "autoencoder", "variant": "variational", "beta": 1.0}
RECONSTRUCTION: dict[str, Settings] = {
    "autoencoder": AUTOENCODER | {"pose": 0.5, "score": "local", "top_fraction": 0.1, "standardize": True},
    "autoencoder, pooled, mse": AUTOENCODER | {"layers": POOLED, "bottleneck": None},
    "autoencoder, tanh, ssim": AUTOENCODER | {"layers": TANH, "bottleneck": None, "score": "ssim", "top_fraction": 0.5},
    "autoencoder, l1": AUTOENCODER | {"score": "l1", "noise": 0.1},
    "autoencoder, gradient": AUTOENCODER | {"score": "gradient"},
    "vae": VAE | {"noise": 0.1, "standardize": True, "score": "elbo"},
    "vae of a map, bce": VAE | {"layers": POOLED, "bottleneck": None, "score": "bce"},
}

PLAIN = {
    "loss": "cross_entropy", "focal_gamma": 2.0, "label_smoothing": 0.0, "mixup": 0.0, "balance": "none",
    "augment": {"pose": 0.0, "exposure": 0.0, "grain": 0.0}, "tta": 1,
}  # fmt: skip
RICH = {
    "loss": "focal", "focal_gamma": 2.0, "label_smoothing": 0.05, "mixup": 0.2, "balance": "weights",
    "augment": {"pose": 1.0, "exposure": 1.0, "grain": 1.0}, "tta": 10,
}  # fmt: skip
SMALL_CNN = {
    "kind": "cnn",
    "variant": "residual",
    "width": 3,
    "unshuffle": 2,
    "findings": [],
    "pooling": "mean_and_peak",
}
EMA = TRAINING | {"ema_decay": 0.9}
CLASSIFIERS: dict[str, Settings] = {
    "cnn": SMALL_CNN | {"recipe": RICH, "training": EMA | {"optimizer": "sgd"}},
    "cnn of findings": SMALL_CNN | {"findings": ["spot", "stain"], "recipe": RICH, "training": EMA},
    "cnn on drawn classes": SMALL_CNN
    | {"pooling": "mean", "recipe": RICH | {"balance": "sampler", "tta": 5}, "training": TRAINING},
    "plain cnn": {
        "kind": "cnn", "variant": "plain", "findings": [], "layers": 2, "filters": [4, 6, 8], "neurons": 8,
        "conv_dropout": 0.1, "dense_dropout": 0.1,
        "recipe": PLAIN | {"balance": "oversample_augmented"}, "training": TRAINING | {"optimizer": "adam"},
    },
    "transfer": {
        "kind": "transfer", "findings": [],
        "backbone": {"name": "efficientnet_lite0", "weights": "pretrained", "channels": "sum", "side": 32},
        "frozen": 2, "rate_decay": 0.8, "dropout": 0.2, "recipe": PLAIN | {"balance": "weights", "tta": 2},
        "training": TRAINING,
    },
}  # fmt: skip

RESNET = {"name": "resnet18", "weights": "none", "channels": "sum", "side": 32}
LITE = {"name": "efficientnet_lite0", "weights": "none", "channels": "repeat", "side": 32}
NOVELTY: dict[str, Settings] = {
    "novelty by pyramid": {
        "kind": "novelty",
        "features": {"kind": "pyramid", "levels": 3, "grid": 4},
        "distance": {"kind": "mahalanobis"},
    },
    "novelty by hog": {
        "kind": "novelty",
        "features": {"kind": "hog", "cells": 4, "bins": 6, "block": 2, "signed": True},
        "distance": {"kind": "knn", "neighbors": 3, "most": 100},
    },
    "padim": {"kind": "patches", "variant": "padim", "backbone": RESNET, "depths": [1, 2], "grid": 4, "features": 12,
              "top_fraction": 0.2},
    "patchcore": {
        "kind": "patches", "variant": "patchcore", "backbone": LITE, "depths": [1, 2], "grid": 4, "neighborhood": 3,
        "share": 0.2, "most": 40, "top_fraction": 0.2,
    },
}  # fmt: skip

OWN = {"kind": "own", "width": 3, "unshuffle": 2, "training": TRAINING}
PUBLIC = LITE | {"kind": "public", "channels": "sum"}


def embedding(head: Settings, **others: Any) -> Settings:
    usual = {"findings": [], "backbone": OWN, "depths": [1, 2], "grid": 2, "folds": 2}
    return {"kind": "embedding", "head": head, **usual, **others}


KNN = embedding({"kind": "knn", "neighbors": [3, 5], "temperature": [0.1]}, grid=1, depths=[2], backbone=PUBLIC)
EMBEDDINGS: dict[str, Settings] = {
    "logistic on embeddings": embedding({"kind": "logistic", "inverse_penalty": [0.01, 0.1]}),
    "svm on embeddings": embedding(
        {"kind": "svm", "inverse_penalty": [1.0, 10.0], "gamma": [1.0]}, backbone=PUBLIC | {"channels": "repeat"}
    ),
    "knn on embeddings": KNN,
    "mlp of findings on embeddings": embedding(
        {"kind": "mlp", "hidden": [16], "penalty": [0.1], "epochs": 100}, findings=["spot", "stain"], depths=[1, 2, 3]
    ),
}

MEMBERS = {"one": {"kind": "statistic", "variant": "gradient"}, "other": KNN}
ENSEMBLES: dict[str, Settings] = {
    "ensemble by rank": {"kind": "ensemble", "combine": "rank", "members": MEMBERS},
    "ensemble by probability": {"kind": "ensemble", "combine": "probability", "members": MEMBERS},
}

ONE_CLASS: dict[str, Settings] = BASELINES | RECONSTRUCTION | NOVELTY
TINY: dict[str, Settings] = ONE_CLASS | CLASSIFIERS | EMBEDDINGS | ENSEMBLES


def trained_part(settings: Settings) -> Settings | None:
    """The block with the optimizer's settings: the detector's own, or its backbone's."""
    blocks = (settings, settings.get("backbone", {}))
    return next((block for block in blocks if "training" in block), None)


def tiny_detector(kind: str, image_size: int, compute: ComputeParams, seed: int = 7, **training: Any) -> Detector:
    """An unfitted detector of TINY's settings, those of its training replaced by `training`."""
    settings = copy.deepcopy(TINY[kind])
    if block := trained_part(settings):
        block["training"] |= training
    params: DetectorParams = TypeAdapter(DetectorParams).validate_python(settings)
    return build(params, image_size, compute, seed)


def kinds_of(union: Any) -> Iterator[tuple[str, str | None]]:
    """Kind and variant of each class of a union, however deep it is annotated."""
    if members := get_args(union):
        for member in members:
            yield from kinds_of(member)
    elif isinstance(union, type):
        fields = union.model_fields
        variants = get_args(fields["variant"].annotation) if "variant" in fields else (None,)
        yield from ((kind, variant) for kind in get_args(fields["kind"].annotation) for variant in variants)


TRAINED = [kind for kind, params in TINY.items() if trained_part(params)]
OF_FINDINGS = [kind for kind, params in TINY.items() if params.get("findings")]
# how long what learns in epochs has to learn until it sees anomalies
EPOCHS = (
    dict.fromkeys(TINY, 20)
    | dict.fromkeys(RECONSTRUCTION, 30)
    | dict.fromkeys(EMBEDDINGS, 10)
    | {"transfer": 5, "plain cnn": 40}
)
LEAST_AUROC = {"intensity": 0.75}  # the blobs of healthy films differ in size, and so in mean grey
