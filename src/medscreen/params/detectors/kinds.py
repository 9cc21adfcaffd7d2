"""Every kind of detector that stands alone."""

from medscreen.params.detectors.baselines import GradientParams
from medscreen.params.detectors.classifiers import CnnParams
from medscreen.params.detectors.embeddings import EmbeddingParams
from medscreen.params.detectors.reconstruction import AutoencoderParams

SingleParams = GradientParams | AutoencoderParams | CnnParams | EmbeddingParams
"""What can stand in the roster and be a member of an ensemble."""
