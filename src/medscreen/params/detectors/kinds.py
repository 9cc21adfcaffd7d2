"""Every kind of detector that stands alone."""

from medscreen.params.detectors.baselines import StatisticParams
from medscreen.params.detectors.classifiers import CnnParams, TransferParams, TunableCnnParams
from medscreen.params.detectors.embeddings import EmbeddingParams
from medscreen.params.detectors.novelty import NoveltyParams, PadimParams, PatchcoreParams
from medscreen.params.detectors.reconstruction import AutoencoderParams, VaeParams

SingleParams = (
    StatisticParams
    | AutoencoderParams
    | VaeParams
    | CnnParams
    | TunableCnnParams
    | TransferParams
    | EmbeddingParams
    | NoveltyParams
    | PadimParams
    | PatchcoreParams
)
"""What can stand in the roster and be a member of an ensemble."""
