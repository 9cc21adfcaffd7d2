"""Draws docs/pictures/phantom.png, a contact sheet of simulated films: python docs/pictures/phantom.py"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from medscreen.config.datasets import PhantomParams
from medscreen.config.params import load_params
from medscreen.data.sources.phantom.cohort import FINDINGS, draw_patient
from medscreen.data.sources.phantom.films import simulate
from medscreen.workspace.layout import find_layout

PER_FINDING, SIZE = 5, 224

layout = find_layout()
entries = load_params(layout.params).datasets.values()
settings = next(entry for entry in entries if isinstance(entry, PhantomParams)).model_copy(update={"image_size": SIZE})
patients = [draw_patient(settings, number) for number in range(200)]
figure = Figure(figsize=(11, 7.2), dpi=100, facecolor="black", layout="constrained")
grid = figure.subplots(len(FINDINGS), PER_FINDING)
for row, finding in zip(grid, FINDINGS, strict=True):
    chosen = [patient for patient in patients if patient.finding == finding][:PER_FINDING]
    for axes, patient in zip(row, chosen, strict=True):
        axes.imshow(np.clip(simulate(settings, patient)[0], 0, 1), cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
        axes.set_title(
            f"{finding.replace('none', 'normal')}, {patient.sex} {patient.age}, site {patient.site}",
            fontsize=8,
            color="0.8",
            pad=3,
        )
        axes.text(6, SIZE - 8, "SIMULATED", fontsize=6, color="white", alpha=0.7)
figure.suptitle("Simulated chest films: no patient, no real finding", fontsize=11, color="white")
figure.savefig(Path(layout.workspace) / "docs" / "pictures" / "phantom.png", metadata={"Software": None})
