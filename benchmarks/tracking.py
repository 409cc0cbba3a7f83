"""What the tracker reaches, beside what was asked of it.

    python benchmarks/tracking.py [--data ../shared/data] [--limit 40] [--only found,collages,small,half,renders,time]

Photos are those of the development data. ``half`` and ``time`` take the validation set (numbers divisible by 18),
``found``, ``collages`` and ``small`` all faces, each as many as ``--limit`` says, evenly spread; ``--limit 3600`` takes
all and an hour. Each part is printed as soon as it is measured.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from instaface.face import Camera, FaceParameters, OpenHead
from instaface.face.colour import pixels_from_linear
from instaface.face.light import directional
from instaface.photo import read_photo
from instaface.render import render_maps
from instaface.track import track
from instaface.track.detect import detect
from instaface.track.fit import fit, interocular, landmark_basis
from instaface.track.landmarks import Landmarks, find_landmarks
from instaface.track.tracker import parameters_of

VALIDATION = 18
Row = tuple[str, str, str]  # what, measured, asked


def spread(numbers: range, limit: int) -> list[int]:
    """At most ``limit`` of the numbers, evenly."""
    return [numbers[i] for i in np.unique(np.linspace(0, len(numbers) - 1, min(limit, len(numbers))).astype(int))]


def photos(data: Path, numbers: Iterable[int]) -> Iterator[NDArray[np.uint8]]:
    for number in numbers:
        yield read_photo(data / "faces" / f"{number:04d}.jpg").pixels


def faces_in(pixels: NDArray[np.uint8]) -> list[Landmarks]:
    """What the tracker finds before it fits."""
    found = [find_landmarks(pixels, face) for face in detect(pixels)]
    return [face for face in found if face is not None]


def around(face: Landmarks, x: float, y: float, size: float) -> bool:
    """Whether a portrait at (x, y) with a side of ``size`` holds the middle of a face."""
    cx, cy = (face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2
    return x < cx < x + size and y < cy < y + size


def found(data: Path, limit: int) -> Iterator[Row]:
    counts = np.array([len(faces_in(pixels)) for pixels in photos(data, spread(range(3600), limit))])
    yield f"portraits with a face found, of {len(counts)}", f"{100 * (counts > 0).mean():.2f} %", "99.5 %"
    yield "portraits with more than one", f"{100 * (counts > 1).mean():.2f} %", ""


def collages(data: Path, limit: int) -> Iterator[Row]:
    numbers = spread(range(3600), 6 * max(1, limit // 6))
    hits, more = 0, 0
    for start in range(0, len(numbers) - 5, 6):
        tiles = list(photos(data, numbers[start : start + 6]))
        picture = np.concatenate([np.concatenate(tiles[:3], 1), np.concatenate(tiles[3:], 1)], 0)
        faces = faces_in(picture)
        inside = [any(around(f, x, y, 512) for f in faces) for y in (0, 512) for x in (0, 512, 1024)]
        hits, more = hits + sum(inside), more + max(0, len(faces) - 6)
    total = 6 * (len(numbers) // 6)
    yield f"faces found in collages of six, of {total}", f"{100 * hits / total:.2f} %", "95 %"
    yield "faces too many", str(more), ""


def small(data: Path, limit: int) -> Iterator[Row]:
    """Faces of 50 pixels (height of the landmarks) at random places of a photo of 4000 x 3000 pixels."""
    import cv2
    from skimage.data import coffee

    rng = np.random.default_rng(0)
    hits, more, numbers = 0, 0, spread(range(3600), max(1, limit // 3))
    for pixels in photos(data, numbers):
        face = faces_in(pixels)[0]
        size = round(512 * 50 / (face.box[3] - face.box[1]))
        x, y = int(rng.integers(4000 - size)), int(rng.integers(3000 - size))
        picture = cv2.resize(coffee(), (4000, 3000), interpolation=cv2.INTER_CUBIC)
        picture[y : y + size, x : x + size] = cv2.resize(pixels, (size, size), interpolation=cv2.INTER_AREA)
        faces = faces_in(picture)
        hit = any(around(f, x, y, size) for f in faces)
        hits, more = hits + hit, more + len(faces) - hit
    yield f"faces of 50 pixels found in 4000 x 3000, of {len(numbers)}", f"{100 * hits / len(numbers):.1f} %", "95 %"
    yield "things found that are no faces", str(more), ""


def half(data: Path, limit: int) -> Iterator[Row]:
    basis, rng = landmark_basis(OpenHead.load()), np.random.default_rng(0)
    errors, identities = [], []
    for pixels in photos(data, spread(range(0, 3600, VALIDATION), limit)):
        points = faces_in(pixels)[0].points.astype(np.float64)
        camera = Camera.for_photo(pixels.shape[1], pixels.shape[0])
        used = np.zeros(len(points), bool)
        used[rng.permutation(len(points))[: len(points) // 2]] = True
        result = fit(basis, points, camera, used.astype(float))
        errors.append(np.linalg.norm(result.projected - points, axis=1)[~used].mean() / interocular(points))
        identities.append(np.abs(fit(basis, points, camera).identity).max())
    yield f"other half of the landmarks, median of {len(errors)}", f"{100 * np.median(errors):.2f} %", "1.5 %"
    yield "95th percentile", f"{100 * np.percentile(errors, 95):.2f} %", "2.2 %"
    yield "largest identity coefficient", f"{np.max(identities):.2f}", "3"


def random_face(model: OpenHead, rng: np.random.Generator) -> FaceParameters:
    """A person with a random pose, gaze, light and a few expressions, mostly alike on both sides."""
    names = model.expression_names
    expression = torch.zeros(1, len(names))
    free = [i for i, name in enumerate(names) if not name.startswith(("eyeLook", "tongue"))]
    for index in rng.choice(free, 4, replace=False):
        weight = float(rng.uniform(0.1, 0.8))
        sides = {names[index], names[index].replace("Left", "Right"), names[index].replace("Right", "Left")}
        for name in sides & set(names):
            expression[0, names.index(name)] = weight
    toward = torch.tensor([[rng.uniform(-0.7, 0.7), rng.uniform(-0.1, 0.6), 1.0]])
    light = directional(toward / toward.norm(), torch.tensor([0.9]), torch.tensor([0.4]))

    def normal(*shape: int, spread: float = 1.0) -> torch.Tensor:
        return torch.from_numpy(rng.normal(0, spread, shape)).float()

    return model.neutral().replace(
        identity=normal(1, model.n_identity, spread=0.8).clamp(-2, 2),
        albedo=normal(1, model.n_albedo, spread=0.8),
        expression=expression,
        head=torch.tensor([[rng.uniform(-25, 25), rng.uniform(-12, 12), rng.uniform(-10, 10)]]).float(),
        translation=torch.tensor([[rng.uniform(-4, 4), -6.0, -75.0]]),
        gaze=torch.tensor([[rng.uniform(-15, 15), rng.uniform(-8, 8)]]).float().expand(2, 2)[None].contiguous(),
        light=light,
    )


def picture_of(model: OpenHead, parameters: FaceParameters, camera: Camera, grey: float) -> NDArray[np.uint8]:
    maps = render_maps(model, parameters, camera)
    return pixels_from_linear(maps.rendering * maps.mask[..., None] + grey * (1 - maps.mask[..., None]))


def renders(data: Path, limit: int) -> Iterator[Row]:
    model, rng = OpenHead.load(), np.random.default_rng(0)
    camera = Camera.for_photo(512, 512)
    yaw, pose, weights, active, gaze, missed = [], [], [], [], [], 0
    for _ in range(min(200, limit)):
        truth = random_face(model, rng)
        faces = faces_in(picture_of(model, truth, camera, float(rng.uniform(0.1, 0.6))))
        if not faces:
            missed += 1
            continue
        got = parameters_of(fit(landmark_basis(model), faces[0].points.astype(np.float64), camera), model).torch()
        pose.append((got.head - truth.head)[0].abs().numpy())
        gaze.append((got.gaze - truth.gaze).abs().mean().item())
        off, asked = (got.expression - truth.expression)[0].abs().numpy(), truth.expression[0].numpy()
        weights.append(off)
        active.append((model.expression_names, off, asked, got.expression[0].numpy()))
    yaw = np.array(pose)[:, 0]
    yield f"renders missed, of {len(pose) + missed}", str(missed), ""
    yield "yaw, median error", f"{np.median(yaw):.2f} degrees", "2"
    yield "yaw, 95th percentile", f"{np.percentile(yaw, 95):.2f} degrees", ""
    yield "pitch and roll, median", " and ".join(f"{m:.2f}" for m in np.median(pose, 0)[1:]) + " degrees", ""
    yield "gaze, median", f"{np.median(gaze):.1f} degrees", ""
    yield "expression weights, median error", f"{np.median(weights):.3f}", "0.1"
    on = np.concatenate([off[asked > 0] for _, off, asked, _ in active])
    yield "of weights that are not 0, median error", f"{np.median(on):.3f}", ""
    yield "of weights that are 0, mean error", f"{np.mean([off[a == 0].mean() for _, off, a, _ in active]):.3f}", ""


def speed(data: Path, limit: int) -> Iterator[Row]:
    numbers = spread(range(0, 3600, VALIDATION), min(limit, 40))
    track(next(photos(data, numbers)))
    steps: dict[str, list[float]] = {}
    for pixels in photos(data, numbers):
        start = time.perf_counter()
        face = track(pixels)[0]
        for step, seconds in {**face.timings, "everything": time.perf_counter() - start}.items():
            steps.setdefault(step, []).append(1e3 * seconds)
    for step, values in steps.items():
        yield f"{step}, median of {len(values)}", f"{np.median(values):.0f} ms", ""
    light = sum(np.median(steps[step]) for step in ("detect", "landmarks", "fit", "light"))
    yield "landmarks to light", f"{light:.0f} ms", "120 ms"


PARTS: dict[str, Callable[[Path, int], Iterator[Row]]] = {
    "found": found,
    "collages": collages,
    "small": small,
    "half": half,
    "renders": renders,
    "time": speed,
}


def main(data: Path = Path("../shared/data"), limit: int = 40, only: str = ",".join(PARTS)) -> None:
    """Measures and prints a table of each part."""
    console = Console(width=110)
    for name in only.split(","):
        table, start = Table("tracker", "measured", "asked"), time.perf_counter()
        with console.status(name):
            for row in PARTS[name](data, limit):
                table.add_row(*row)
        table.title = f"{name}, measured in {time.perf_counter() - start:.0f} s"
        console.print(table)


if __name__ == "__main__":
    typer.run(main)
