"""Every kind of map: shape and range, company, equality with automatic differentiation, captum and the graph."""

import warnings
from functools import cache

import numpy as np
import onnxruntime
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor, nn

from factories import image_set
from medscreen.config.compute import ComputeParams
from medscreen.config.detectors.roster import DetectorParams
from medscreen.detectors.build import build
from medscreen.detectors.map_network import NoMapError, export_map, map_network
from medscreen.detectors.shared.base import Detector, as_images
from medscreen.detectors.shared.class_activation import ClassActivationMap
from medscreen.detectors.shared.layers.backbones import Backbone
from medscreen.detectors.shared.layers.places import Places, even_places, interpolation
from medscreen.explain.packaged_map import PackagedMap, is_constant
from tiny_detectors import BASELINES, CLASSIFIERS, EMBEDDINGS, ENSEMBLES, NOVELTY, RECONSTRUCTION, TINY

SIZE = 24
IMAGES = image_set(12, SIZE, 4)
WITH_MAP = [*RECONSTRUCTION, *CLASSIFIERS, *NOVELTY, "logistic on embeddings"]
WITHOUT = [*BASELINES, *ENSEMBLES, *(kind for kind in EMBEDDINGS if kind != "logistic on embeddings")]


@cache
def fitted(kind: str) -> Detector:
    """As two epochs make it; a classifier that finds nothing abnormal anywhere is turned around."""
    made = detector(kind).fit(image_set(66, SIZE, 1), image_set(20, SIZE, 2))
    if (
        kind in CLASSIFIERS
        and not (maps_of(map_network(settings(kind), made, SIZE)[1], as_images(IMAGES.pixels)) > 0).any()
    ):
        last = [module for module in made.network.modules() if isinstance(module, nn.Linear)][-1]
        with torch.no_grad():
            last.weight.neg_()
    return made


def detector(kind: str) -> Detector:
    return build(settings(kind), SIZE, ComputeParams(threads=1, device="cpu"), 3)


def settings(kind: str) -> DetectorParams:
    params: DetectorParams = TypeAdapter(DetectorParams).validate_python(TINY[kind])
    return params


def network_of(kind: str) -> nn.Module:
    return map_network(settings(kind), fitted(kind), SIZE)[1].eval()


def maps_of(network: nn.Module, images: Tensor) -> Tensor:
    with torch.inference_mode():
        found = network(images)
    maps: Tensor = found[0] if isinstance(found, tuple) else found
    return maps


def close(found: object, expected: object, share: float = 1e-4) -> None:
    """Equal up to a share of the largest value."""
    found, expected = np.asarray(found), np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=share * max(1.0, float(np.abs(expected).max())))


def test_every_kind_has_a_map_or_a_reason() -> None:
    assert sorted([*WITH_MAP, *WITHOUT]) == sorted(TINY)


@pytest.mark.parametrize("kind", WITHOUT)
def test_a_detector_without_places_states_the_reason(kind: str) -> None:
    with pytest.raises(NoMapError) as error:
        map_network(settings(kind), detector(kind), SIZE)
    assert len(str(error.value)) > 20
    assert export_map(settings(kind), detector(kind), SIZE).about == {"map": None, "reason": str(error.value)}


@pytest.mark.parametrize("kind", WITH_MAP)
def test_a_map_is_finite_0_and_above_and_independent_of_company(kind: str) -> None:
    network, images = network_of(kind), as_images(IMAGES.pixels)
    together = maps_of(network, images)
    assert together.shape == (len(images), 1, SIZE, SIZE)
    assert together.dtype == torch.float32
    assert torch.isfinite(together).all()
    assert (together >= 0).all()
    assert (together > 0).any()
    close(torch.cat([maps_of(network, image[None]) for image in images]), together)
    assert torch.isfinite(maps_of(network, torch.full((2, 1, SIZE, SIZE), 0.5))).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", WITH_MAP)
def test_the_exported_graph_gives_the_same_map_in_any_company_and_size(kind: str) -> None:
    exported = export_map(settings(kind), fitted(kind), SIZE)
    assert exported.graph is not None
    assert exported.about["map"]
    assert exported.about["unit"]
    packaged = PackagedMap(exported.graph)
    expected = maps_of(network_of(kind), as_images(IMAGES.pixels))[:, 0]
    found = packaged.maps(IMAGES.pixels)
    assert found.dtype == np.float32
    close(found, expected)
    close(packaged.maps(IMAGES.pixels[5:6])[0], found[5])
    reconstructions = packaged.reconstructions(IMAGES.pixels)
    assert (reconstructions is not None) == (kind in RECONSTRUCTION)
    if reconstructions is not None:
        with torch.inference_mode():
            close(reconstructions, network_of(kind)(as_images(IMAGES.pixels))[1][:, 0])
        assert 0 <= reconstructions.min() < reconstructions.max() <= 1
    # twice the size by repeating pixels is the same image once it is reduced
    doubled = IMAGES.pixels.repeat(2, 1).repeat(2, 2)
    assert packaged.maps(doubled).shape == found.shape
    learned = [tensor.name for tensor in exported.graph.graph.initializer if "." in tensor.name]
    assert learned
    assert {name for name in learned if name.rsplit(".", 1)[-1] in {"rows", "columns"}} == set()


@pytest.mark.parametrize("kind", list(CLASSIFIERS))
def test_the_closed_form_is_the_gradient_of_the_score(kind: str) -> None:
    network = network_of(kind)
    assert isinstance(network, ClassActivationMap)
    images, number = as_images(IMAGES.pixels), network.looking.number
    with torch.no_grad():
        views = network.looking.views(images) if number > 1 else images
        features = network.classifier.features(views)
    features.requires_grad_(True)
    logits = network.classifier.logits(features)
    logits = logits.view(number, len(images), -1).mean(0)
    if logits.shape[1] == 1:
        score, of_logits = logits[:, 0], torch.ones_like(logits)
    else:
        score = torch.logsumexp(logits[:, 1:], 1) - logits[:, 0]
        of_logits = torch.autograd.grad(score.sum(), logits, retain_graph=True)[0]
    (expected,) = torch.autograd.grad(score.sum() * number, features)
    found = network.classifier.gradient(features.detach(), of_logits.detach().repeat(number, 1))
    close(found.detach(), expected, 1e-5)


@pytest.mark.parametrize("kind", list(CLASSIFIERS))
def test_contributions_and_mean_gradient_are_those_of_captum(kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from captum.attr import LayerGradCam, LayerGradientXActivation

    network = network_of(kind)
    assert isinstance(network, ClassActivationMap)
    classifier, images = network.classifier, as_images(IMAGES.pixels)
    assert isinstance(classifier, nn.Module)
    layer = {"plain cnn": "convolutions", "transfer": "backbone"}.get(kind, "stages.2")
    module = classifier.get_submodule(layer)
    outputs = classifier(images).shape[1]
    for target in range(outputs):
        of_logits = nn.functional.one_hot(torch.full((len(images),), target), outputs).float()
        with torch.no_grad():
            features = classifier.features(images)
            gradient = classifier.gradient(features, of_logits)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # captum's word on its hooks
            by_place = LayerGradientXActivation(classifier, module).attribute(images, target=target)
            grad_cam = LayerGradCam(classifier, module).attribute(images, target=target)
        close((gradient * features).sum(1), by_place.sum(1).detach(), 1e-5)
        close((gradient.mean((2, 3), keepdim=True) * features).sum(1), grad_cam.detach()[:, 0], 1e-5)
        if kind == "transfer":  # the mean and a linear layer: the two are one
            close((gradient * features).sum(1), grad_cam.detach()[:, 0], 1e-5)


def test_contributions_to_an_embeddings_logit_add_up_to_it() -> None:
    """Without cutting off, at the places of the maps: the sum over all is the logit less the bias."""
    network = network_of("logistic on embeddings")
    for name, buffer in list(network.named_buffers(recurse=False)):
        if name.startswith("weights_"):  # each place is one pixel of the corner
            buffer.copy_(torch.eye(SIZE)[:, : buffer.shape[1]])
    images = as_images(IMAGES.pixels)
    with torch.no_grad():
        clamp, Tensor.clamp = Tensor.clamp, lambda self, **_: self  # type: ignore[method-assign]
        try:
            total = network(images).sum((1, 2, 3))
        finally:
            Tensor.clamp = clamp  # type: ignore[method-assign]
        logits = network.classifier(images)[:, 0] - network.classifier.head[1].bias
    close(total, logits)


@pytest.mark.parametrize("kind", ["novelty by hog", "novelty by pyramid"])
def test_terms_of_a_distance_add_up_to_its_square(kind: str) -> None:
    features, distance = fitted(kind).network  # type: ignore[misc]
    with torch.no_grad():
        vectors = features(as_images(IMAGES.pixels))
        squares = distance(vectors).square()
        terms = distance.terms(vectors).sum(1)
    if kind == "novelty by pyramid":
        close(terms, squares)
    else:  # the mean of squares is no less than the square of the mean
        assert (terms >= squares * (1 - 1e-5)).all()


@pytest.mark.parametrize("name", ["resnet18", "vgg19", "efficientnet_lite0", "densenet121"])
@pytest.mark.parametrize("depth", [2, 3])
def test_places_of_a_backbone_are_the_centers_of_what_they_see(name: str, depth: int) -> None:
    torch.manual_seed(5)
    backbone = Backbone(name, "sum", 96).eval()  # type: ignore[arg-type]
    first, step = backbone.places(96, depth)
    total = torch.zeros(96, 96)
    for _ in range(6):
        images = torch.rand(1, 1, 96, 96, requires_grad=True)
        features = backbone.maps(images, depth)[-1]
        place = features.shape[-1] // 2
        signs = torch.randn(features.shape[1])
        (gradient,) = torch.autograd.grad((features[0, :, place, place] * signs).sum(), images)
        total += gradient[0, 0].square()
    axis = torch.arange(96.0)
    centers = [float((total.sum(other) * axis).sum() / total.sum()) for other in (0, 1)]
    assert centers == pytest.approx([first + step * place] * 2, abs=0.2 * step)


def test_interpolation_is_exact_between_places_and_constant_beyond() -> None:
    weights = interpolation(9, 3, Places(1.0, 3.0))
    np.testing.assert_allclose(weights @ torch.tensor([0.0, 3.0, 6.0]), [0, 0, 1, 2, 3, 4, 5, 6, 6], atol=1e-6)
    assert even_places(8, 2) == (1.5, 4.0)


def test_a_map_that_points_nowhere_is_found() -> None:
    maps = np.zeros((4, 3, 3), np.float32)
    maps[1], maps[2, 1, 1], maps[3, 0, 0] = 7, 1, np.nan
    assert is_constant(maps).tolist() == [True, True, False, True]


def test_a_black_image_is_refused_by_the_map_as_by_the_score() -> None:
    from medscreen.errors import MedscreenError
    from workspaces import SIZE as SIDE
    from workspaces import map_of_quarters

    packaged = PackagedMap(map_of_quarters((1, 1, 1, 0)))
    with pytest.raises(MedscreenError, match="no gray level above 1"):
        packaged.maps(np.zeros((1, SIDE, SIDE), np.uint8))
    assert onnxruntime.__version__
