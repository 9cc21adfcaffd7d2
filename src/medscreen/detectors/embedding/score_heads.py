"""Classifier heads of embeddings: fitted by scikit-learn, stored as PyTorch modules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC
from torch import Tensor, nn

from medscreen.config.detectors.embedding import HeadParams, KnnParams, LogisticParams, MlpParams, SvmParams
from medscreen.detectors.embedding.knn_head import KnnHead
from medscreen.detectors.embedding.svm_head import SvmHead
from medscreen.detectors.shared.layers.feature_scaling import Scaling

_STEPS = 5000  # iteration limit; solvers converge long before


@dataclass(frozen=True)
class Known:
    """Training data of a head: vectors (N, width), their classes (N,) from 0, and the folds of the search.

    A fold is a pair of training and validation indices.
    """

    vectors: NDArray[np.float64]
    classes: NDArray[np.int64]
    folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]


class Head(Protocol):
    """Kind of classifier head. Its module returns logits (N, K) or, for two classes, log odds (N, 1)."""

    def fresh(self, width: int, classes: int) -> nn.Sequential:
        """Untrained module on vectors (N, width)."""
        ...

    def pipeline(self, seed: int) -> Pipeline:
        """Scikit-learn pipeline of scaler and classifier."""
        ...

    def tried(self, width: int) -> Mapping[str, Sequence[Any]]:
        """Parameter grid with scikit-learn's names, in the order of the settings."""
        ...

    def fill(self, module: nn.Sequential, fitted: Pipeline, data: Known) -> None:
        """Copies the fitted pipeline into the module."""
        ...


def head_of(params: HeadParams) -> Head:
    """The head with these settings."""
    match params:
        case LogisticParams():
            return _Logistic(params)
        case SvmParams():
            return _Svm(params)
        case KnnParams():
            return _Knn(params)
        case MlpParams():
            return _Mlp(params)


@dataclass(frozen=True)
class _Logistic:
    params: LogisticParams

    def fresh(self, width: int, classes: int) -> nn.Sequential:
        return nn.Sequential(Scaling(width), nn.Linear(width, _outputs(classes)))

    def pipeline(self, seed: int) -> Pipeline:  # noqa: ARG002
        return _scaled(LogisticRegression(class_weight="balanced", max_iter=_STEPS))

    def tried(self, width: int) -> Mapping[str, Sequence[Any]]:  # noqa: ARG002
        return {"head__C": self.params.inverse_penalty}

    def fill(self, module: nn.Sequential, fitted: Pipeline, data: Known) -> None:  # noqa: ARG002
        _fill_scaling(module[0], fitted)
        _put(module[1], weight=fitted["head"].coef_, bias=fitted["head"].intercept_)


@dataclass(frozen=True)
class _Svm:
    """One-vs-rest SVMs; Platt scaling, fitted on out-of-fold decision values, maps them to log odds."""

    params: SvmParams

    def fresh(self, width: int, classes: int) -> nn.Sequential:
        outputs = _outputs(classes)
        return nn.Sequential(Scaling(width), SvmHead(width, outputs), nn.Linear(outputs, outputs))

    def pipeline(self, seed: int) -> Pipeline:  # noqa: ARG002
        return _scaled(OneVsRestClassifier(SVC(class_weight="balanced")))

    def tried(self, width: int) -> Mapping[str, Sequence[Any]]:
        gammas = [gamma / width for gamma in self.params.gamma]
        return {"head__estimator__C": self.params.inverse_penalty, "head__estimator__gamma": gammas}

    def fill(self, module: nn.Sequential, fitted: Pipeline, data: Known) -> None:
        _fill_scaling(module[0], fitted)
        machines = fitted["head"].estimators_
        used = np.unique(np.concatenate([machine.support_ for machine in machines]))
        weights = np.zeros((len(used), len(machines)))
        for k, machine in enumerate(machines):
            weights[np.searchsorted(used, machine.support_), k] = machine.dual_coef_[0]
        _put(
            module[1],
            vectors=fitted["scale"].transform(data.vectors[used]),
            weights=weights,
            offsets=np.concatenate([machine.intercept_ for machine in machines]),
            gamma=machines[0].gamma,
        )
        unseen = cross_val_predict(fitted, data.vectors, data.classes, cv=data.folds, method="decision_function")
        # default L2 penalty: negligible for the two parameters of one curve, needed for the K x K of many classes
        curve = LogisticRegression(class_weight="balanced", max_iter=_STEPS)
        curve.fit(unseen.reshape(len(unseen), -1), data.classes)
        _put(module[2], weight=curve.coef_, bias=curve.intercept_)


@dataclass(frozen=True)
class _Knn:
    params: KnnParams

    def fresh(self, width: int, classes: int) -> nn.Sequential:
        return nn.Sequential(Scaling(width), KnnHead(width, classes, max(self.params.neighbors)))

    def pipeline(self, seed: int) -> Pipeline:  # noqa: ARG002
        return Pipeline(
            [
                ("scale", StandardScaler()),
                ("length", Normalizer()),
                ("head", KNeighborsClassifier(algorithm="brute")),
            ]
        )

    def tried(self, width: int) -> Mapping[str, Sequence[Any]]:  # noqa: ARG002
        class_weights = [partial(_gaussian_weights, temperature=temperature) for temperature in self.params.temperature]
        return {"head__n_neighbors": self.params.neighbors, "head__weights": class_weights}

    def fill(self, module: nn.Sequential, fitted: Pipeline, data: Known) -> None:
        _fill_scaling(module[0], fitted)
        knn = fitted["head"]
        counts = np.bincount(data.classes)
        nearest = 1 - knn.kneighbors(n_neighbors=1)[0] ** 2 / 2
        _put(
            module[1],
            vectors=fitted[:-1].transform(data.vectors),
            classes=np.eye(len(counts))[data.classes],
            counted=np.arange(max(self.params.neighbors)) < knn.n_neighbors,
            usual=max(0.0, float(np.median(nearest))),
            temperature=knn.weights.keywords["temperature"],
            balance=len(data.classes) / (len(counts) * counts),
        )


@dataclass(frozen=True)
class _Mlp:
    params: MlpParams

    def fresh(self, width: int, classes: int) -> nn.Sequential:
        layers: list[nn.Module] = [Scaling(width)]
        for hidden in self.params.hidden:
            layers += [nn.Linear(width, hidden), nn.ReLU()]
            width = hidden
        return nn.Sequential(*layers, nn.Linear(width, _outputs(classes)))

    def pipeline(self, seed: int) -> Pipeline:
        return _scaled(MLPClassifier(self.params.hidden, max_iter=self.params.epochs, random_state=seed))

    def tried(self, width: int) -> Mapping[str, Sequence[Any]]:  # noqa: ARG002
        return {"head__alpha": self.params.penalty}

    def fill(self, module: nn.Sequential, fitted: Pipeline, data: Known) -> None:
        _fill_scaling(module[0], fitted)
        mlp = fitted["head"]
        shares = np.log(np.bincount(data.classes) / len(data.classes))
        # scikit-learn's MLP has no class weights: subtract the log prior, so that classes have equal priors
        usual = shares[1:] - shares[:1] if len(shares) == 2 else shares
        biases = [*mlp.intercepts_[:-1], mlp.intercepts_[-1] - usual]
        linear = [part for part in module if isinstance(part, nn.Linear)]
        for layer, weight, bias in zip(linear, mlp.coefs_, biases, strict=True):
            _put(layer, weight=weight.T, bias=bias)


def _gaussian_weights(distances: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Neighbor weights at these distances; for unit vectors, the cosine is 1 - distance^2 / 2."""
    class_weights: NDArray[np.float64] = np.exp(-(distances**2) / (2 * temperature))
    return class_weights


def _outputs(classes: int) -> int:
    return 1 if classes == 2 else classes


def _scaled(head: BaseEstimator) -> Pipeline:
    return Pipeline([("scale", StandardScaler()), ("head", head)])


def _fill_scaling(module: nn.Module, fitted: Pipeline) -> None:
    _put(module, mean=fitted["scale"].mean_, spread=fitted["scale"].scale_)


def _put(module: nn.Module, **values: ArrayLike) -> None:
    """Sets parameters and buffers by name."""
    state: dict[str, Tensor] = {name: torch.tensor(np.asarray(v), dtype=torch.float32) for name, v in values.items()}
    module.load_state_dict(state)
