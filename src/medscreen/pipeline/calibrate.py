"""Stage calibrate: chooses the operating point of a detector on val and packages both as ONNX."""

import sys

from medscreen.packaging.calibration import calibrate
from medscreen.pipeline.stage_runner import run_stage

if __name__ == "__main__":
    run_stage(f"calibrate@{sys.argv[1]}", lambda layout, params: calibrate(layout, params, sys.argv[1]))
