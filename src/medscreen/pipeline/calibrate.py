"""Chooses one detector's operating point on val and packages it."""

import sys

from medscreen.packaging.calibration import calibrate
from medscreen.pipeline.stage_runner import run_stage

if __name__ == "__main__":
    run_stage(f"calibrate@{sys.argv[1]}", lambda layout, params: calibrate(layout, params, sys.argv[1]))
