"""All kinds of single detectors."""

from medscreen.config.detectors.autoencoder import AutoencoderParams
from medscreen.config.detectors.cnn import CnnParams
from medscreen.config.detectors.embedding import EmbeddingParams
from medscreen.config.detectors.novelty import NoveltyParams
from medscreen.config.detectors.patches import PatchesParams
from medscreen.config.detectors.statistic import StatisticParams
from medscreen.config.detectors.transfer import TransferParams

SingleParams = (
    StatisticParams | AutoencoderParams | CnnParams | TransferParams | EmbeddingParams | NoveltyParams | PatchesParams
)
"""Settings of a single detector: a roster entry or a member of an ensemble."""
