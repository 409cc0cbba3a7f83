"""Skin tone and light of the validation portraits, by group of people.

    python benchmarks/albedo_light.py [--faces ../shared/data] [--per-group 25]

Skin tone and light can only be told apart by a prior; this prints whether the light that the tracker estimates
depends on who is lit. The ambient level is the constant term of the light, the mean over its channels.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from instaface.face import OpenHead
from instaface.face.light import shade
from instaface.track import TrackedFace, track

ROOT = Path(__file__).resolve().parents[1]
VALIDATION = 18  # faces whose number this divides were not learned from


def mean_shading(face: TrackedFace, model: OpenHead) -> float:
    """Shading of the face's skin, averaged over its vertices that look at the camera."""
    normals = model.mesh(face.parameters).normals()[:, model.regions["face"]]
    shading = shade(normals, face.parameters.light)[0].mean(-1)
    return float(shading[normals[0, :, 2] > 0.25].mean())


def skin_tone(face: TrackedFace, model: OpenHead) -> np.ndarray:
    """(3,) linear RGB albedo of the cheeks, averaged over vertices."""
    texture = model.albedo(face.parameters.albedo)[0]
    cheeks = torch.isin(model.faces, torch.cat([model.regions["cheek_left"], model.regions["cheek_right"]]))
    place = model.uv[model.uv_faces[cheeks].unique()] * len(texture[0])
    column, row = place[:, 0].long(), len(texture[0]) - 1 - place[:, 1].long()
    return texture[:, row, column].mean(1).numpy()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("INSTAFACE_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--faces", type=Path, default=data, help="folder with faces.csv and faces/")
    parser.add_argument("--per-group", type=int, default=25)
    options = parser.parse_args()
    model = OpenHead.load()
    with (options.faces / "faces.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if int(Path(row["file"]).stem) % VALIDATION == 0]
    table = Table(title="light and skin tone by group (validation portraits)")
    for column in (
        "group",
        "portraits",
        "ambient level",
        "mean shading",
        "skin tone (linear RGB)",
        "largest coefficient",
    ):
        table.add_column(column, justify="left" if column == "group" else "right")
    levels = {}
    for group in sorted({row["group"] for row in rows}):
        files = [row["file"] for row in rows if row["group"] == group][: options.per_group]
        faces = [face for name in files for face in track(options.faces / "faces" / name, faces=1)]
        ambient = np.array([float(face.parameters.light[0, 0].mean()) for face in faces])
        levels[group] = ambient.mean()
        tone = np.mean([skin_tone(face, model) for face in faces], 0)
        table.add_row(
            group,
            str(len(faces)),
            f"{ambient.mean():.3f} ± {ambient.std():.3f}",
            f"{np.mean([mean_shading(face, model) for face in faces]):.3f}",
            " ".join(f"{value:.3f}" for value in tone),
            f"{max(float(face.parameters.albedo.abs().max()) for face in faces):.1f}",
        )
    Console().print(table)
    mean = np.mean(list(levels.values()))
    print(f"groups differ from their mean by at most {100 * max(abs(v / mean - 1) for v in levels.values()):.1f} %")


if __name__ == "__main__":
    main()
