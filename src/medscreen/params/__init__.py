"""params.yaml as frozen, typed values; defaults live in that file and nowhere else."""

from medscreen.params.data import CurationParams, DatasetParams, FoldersParams, MedMnistParams, PhantomParams
from medscreen.params.detectors import (
    AutoencoderParams,
    CnnParams,
    DetectorName,
    DetectorParams,
    GradientParams,
    TrainingParams,
)
from medscreen.params.operating import (
    BestAccuracyPolicy,
    CalibrationName,
    CostPolicy,
    EvaluationParams,
    F1Policy,
    HealthyQuantilePolicy,
    MeanSdPolicy,
    OperatingParams,
    Policy,
    ReferParams,
    SensitivityPolicy,
    SpecificityPolicy,
    YoudenPolicy,
)
from medscreen.params.promotion import PromotionParams, SensitivityFloor
from medscreen.params.whole import ComputeParams, Params, load_params

__all__ = [
    "AutoencoderParams",
    "BestAccuracyPolicy",
    "CalibrationName",
    "CnnParams",
    "ComputeParams",
    "CostPolicy",
    "CurationParams",
    "DatasetParams",
    "DetectorName",
    "DetectorParams",
    "EvaluationParams",
    "F1Policy",
    "FoldersParams",
    "GradientParams",
    "HealthyQuantilePolicy",
    "MeanSdPolicy",
    "MedMnistParams",
    "OperatingParams",
    "Params",
    "PhantomParams",
    "Policy",
    "PromotionParams",
    "ReferParams",
    "SensitivityFloor",
    "SensitivityPolicy",
    "SpecificityPolicy",
    "TrainingParams",
    "YoudenPolicy",
    "load_params",
]
