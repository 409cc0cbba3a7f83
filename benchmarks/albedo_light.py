"""Skin tone and light of the validation portraits, by group of people; light of renderings, where it is known.

    python benchmarks/albedo_light.py [--faces ../shared/data] [--per-group 25] [--renders 60] [--only groups,renders]

Skin tone and light can only be told apart by a prior; this prints whether the light that the tracker estimates
depends on who is lit. The ambient level is the constant term of the light, the mean over its channels. The renderings
are of random people in a lamp that casts sharp shadows, and ambient light; the tracker knows their shape and pose.
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

from instaface.face import Camera, FaceParameters, OpenHead
from instaface.face.colour import srgb_from_linear
from instaface.face.light import direction_from_angles, shade
from instaface.render import Maps, region_mask, render_maps
from instaface.render.occlusion import reached
from instaface.track import TrackedFace, track
from instaface.track.light import fit_light

ROOT = Path(__file__).resolve().parents[1]
VALIDATION = 18  # faces whose number this divides were not learned from


def mean_shading(face: TrackedFace, model: OpenHead) -> float:
    """Shading of the face's skin, averaged over its vertices that look at the camera."""
    normals = model.mesh(face.parameters).normals()[:, model.regions["face"]]
    shading = shade(normals, face.parameters.light)[0].mean(-1)
    return float(shading[normals[0, :, 2] > 0.25].mean())


def skin_tone(face: TrackedFace, model: OpenHead) -> np.ndarray:
    """(3,) linear RGB albedo of the cheeks, averaged over vertices."""
    texture = model.albedo(face.parameters.torch().albedo)[0]
    cheeks = torch.isin(model.faces, torch.cat([model.regions["cheek_left"], model.regions["cheek_right"]]))
    place = model.uv[model.uv_faces[cheeks].unique()] * len(texture[0])
    column, row = place[:, 0].long(), len(texture[0]) - 1 - place[:, 1].long()
    return texture[:, row, column].mean(1).numpy()


def person(model: OpenHead, rng: np.random.Generator) -> tuple[FaceParameters, Camera]:
    """A random person who looks about the camera's way."""
    neutral = model.neutral()

    def draw(like: torch.Tensor, spread: float) -> torch.Tensor:
        return torch.from_numpy(rng.normal(0, spread, like.shape)).float()

    turned = draw(neutral.head, 1.0) * torch.tensor([12.0, 6.0, 4.0])
    changed = {"identity": draw(neutral.identity, 0.8), "albedo": draw(neutral.albedo, 0.8), "head": turned}
    return neutral.replace(**changed), Camera.for_photo(384, 384)


def lamplit(maps: Maps, points: np.ndarray, model: OpenHead, towards: np.ndarray, ambient: float) -> np.ndarray:
    """(H, W, 3) uint8 picture in a lamp whose rays the head stops, and light from everywhere.

    Args:
        maps: of the person.
        points: (V, 3) vertices.
        model: the face model.
        towards: (3,) unit vector to the lamp.
        ambient: share of the ambient light in that on a surface which faces the lamp.
    """
    sharp = reached(points, model.faces.numpy().astype(np.int32), towards, side=512, bias=0.3)
    lit = sharp.astype(np.float32)[model.faces.numpy()[maps.raster.face_index.clip(0)]]
    lit = (lit * maps.raster.barycentric).sum(-1) * np.maximum(maps.normals @ towards, 0)
    colour = maps.albedo * (ambient + (1 - ambient) * lit)[..., None] * maps.mask[..., None]
    colour = colour + np.array([0.2, 0.25, 0.3]) * (1 - maps.mask[..., None])
    return np.rint(255 * srgb_from_linear(colour.clip(0, 1))).astype(np.uint8)


def renders(model: OpenHead, count: int) -> Table:
    """Angle between the light that was rendered and the one estimated, by where the lamp stands."""
    rng = np.random.default_rng(0)
    found: dict[str, list[float]] = {"up to 30 degrees off the camera": [], "30 to 60": [], "60 to 80": []}
    for _ in range(count):
        parameters, camera = person(model, rng)
        angles = rng.uniform((-75, -20), (75, 50))
        towards = direction_from_angles(*(torch.tensor([angle]) for angle in angles))[0].float().numpy()
        maps, points = render_maps(model, parameters, camera), model.vertices(parameters)[0].numpy()
        pixels = lamplit(maps, points, model, towards, rng.uniform(0.2, 0.5))
        bare = maps.mask * ~region_mask(model, maps, "scalp")
        light = fit_light(model, parameters, camera, pixels, bare.astype(np.float32)).light[0]
        estimate = torch.nn.functional.normalize(light[1:4].mean(-1), dim=0).numpy()
        off = np.degrees(np.arccos(towards[2]))
        key = list(found)[int(np.searchsorted((30, 60), off))]
        found[key].append(float(np.degrees(np.arccos(np.clip(estimate @ towards, -1, 1)))))
    table = Table(title="direction of light on renderings with cast shadows (degrees)")
    for column in ("lamp", "renderings", "median error", "90th percentile", "within 20"):
        table.add_column(column, justify="left" if column == "lamp" else "right")
    found["all"] = [error for errors in found.values() for error in errors]
    for name, errors in found.items():
        if errors:
            shares = (
                f"{np.median(errors):.1f}",
                f"{np.percentile(errors, 90):.1f}",
                f"{np.mean(np.array(errors) < 20):.0%}",
            )
            table.add_row(name, str(len(errors)), *shares)
    return table


def groups(model: OpenHead, folder: Path, per_group: int) -> Table:
    """Light and skin tone by group of people."""
    with (folder / "faces.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if int(Path(row["file"]).stem) % VALIDATION == 0]
    table = Table(title="light and skin tone by group (validation portraits)")
    columns = "group", "portraits", "ambient level", "mean shading", "skin tone (linear RGB)", "largest coefficient"
    for column in columns:
        table.add_column(column, justify="left" if column == "group" else "right")
    levels = {}
    for group in sorted({row["group"] for row in rows}):
        files = [row["file"] for row in rows if row["group"] == group][:per_group]
        faces = [face for name in files for face in track(folder / "faces" / name, faces=1)]
        ambient = np.array([float(face.parameters.light[0, 0].mean()) for face in faces])
        levels[group] = ambient.mean()
        tone = np.mean([skin_tone(face, model) for face in faces], 0)
        table.add_row(
            group,
            str(len(faces)),
            f"{ambient.mean():.3f} ± {ambient.std():.3f}",
            f"{np.mean([mean_shading(face, model) for face in faces]):.3f}",
            " ".join(f"{value:.3f}" for value in tone),
            f"{max(float(np.abs(face.parameters.albedo).max()) for face in faces):.1f}",
        )
    low, high, mean = min(levels.values()), max(levels.values()), np.mean(list(levels.values()))
    worst = max(high / mean - 1, 1 - low / mean)
    table.caption = f"from the groups' mean at most {worst:.1%}, from lowest to highest {high / low - 1:.1%}"
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = Path(os.environ.get("INSTAFACE_DATA", ROOT.parent / "shared" / "data"))
    parser.add_argument("--faces", type=Path, default=data, help="folder with faces.csv and faces/")
    parser.add_argument("--per-group", type=int, default=25)
    parser.add_argument("--renders", type=int, default=60, help="how many pictures of known light")
    parser.add_argument("--only", default="groups,renders")
    options = parser.parse_args()
    model = OpenHead.load()
    if "renders" in options.only:
        Console().print(renders(model, options.renders))
    if "groups" in options.only:
        Console().print(groups(model, options.faces, options.per_group))


if __name__ == "__main__":
    main()
