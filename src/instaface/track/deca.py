"""DECA as a tracker: FLAME parameters of each face, from the user's own copy of its weights."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from instaface import assets
from instaface.face import Camera, FaceParameters, rotation_from_angles
from instaface.face.deca import DecaCodes, DecaCrop, to_parameters
from instaface.face.flame import FLAME
from instaface.photo import Photo
from instaface.track.deca_networks import DetailDecoder, Encoder
from instaface.track.tracked import TrackedFace
from instaface.track.tracker import track

# iBUG's 68 points among MediaPipe's 478, by their place on the face: contour, brows, nose, eyes, lips.
IBUG_OF_MEDIAPIPE = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87),
)
OUTER_EYES = (36, 45)  # iBUG's outer corners


def track_with_deca(
    photo: Photo | str | Path | NDArray[np.uint8], faces: int | None = None, flame: FLAME | None = None
) -> list[TrackedFace]:
    """Finds every face of a photo and measures it with DECA.

    Faces, landmarks, matte and gaze are those of :func:`instaface.track.track`; identity, expression, pose, jaw,
    albedo, light and camera are DECA's. DECA was trained on crops around FAN's landmarks; MediaPipe's stand in here.

    Args:
        photo: a photo, a path, or an (H, W, 3) uint8 RGB array.
        faces: how many faces to measure at most, the largest ones; all by default.
        flame: the face model, by default that of the user's files.

    Raises:
        InstaFaceError: the photo cannot be read, or a file of DECA or FLAME was not added.
    """
    flame = flame or FLAME.load()
    coarse = encoder()
    return [measure(face, flame, coarse) for face in track(photo, faces)]


def measure(face: TrackedFace, flame: FLAME, coarse: Encoder) -> TrackedFace:
    """A tracked face with DECA's numbers in place of the tracker's."""
    start = time.perf_counter()
    crop = DecaCrop.around(ibug_points(face))
    codes = encode(face.photo.pixels, crop, coarse)
    parameters, camera = to_parameters(codes, flame, crop, face.photo.width, face.photo.height)
    parameters = flame.explain(parameters.replace(gaze=face.parameters.gaze))
    seconds = time.perf_counter() - start
    return replace(
        face,
        parameters=parameters,
        camera=camera,
        fit_error=_error(face, flame, parameters, camera),
        model=flame.name,
        timings={**face.timings, "deca": seconds},
    )


def _error(face: TrackedFace, flame: FLAME, parameters: FaceParameters, camera: Camera) -> float:
    """Mean distance of DECA's 68 landmarks from those found, in % of the distance of the outer eye corners."""
    with torch.no_grad():
        points = flame.landmarks_as_seen(flame.vertices(parameters), rotation_from_angles(parameters.head))
        projected = camera.project(points)[0, :, :2].numpy()
    found = ibug_points(face)
    size = np.linalg.norm(found[OUTER_EYES[0]] - found[OUTER_EYES[1]])
    return float(100 * np.linalg.norm(projected - found, axis=1).mean() / size)


def encode(photo: NDArray[np.uint8], crop: DecaCrop, coarse: Encoder) -> DecaCodes:
    """DECA's codes of one face, batch of 1."""
    with torch.no_grad():
        return DecaCodes.split(coarse(torch.from_numpy(crop.pixels(photo))[None]))


def ibug_points(face: TrackedFace) -> NDArray[np.float32]:
    """(68, 2) iBUG landmarks in pixels of the photo, from MediaPipe's."""
    return face.landmarks[list(IBUG_OF_MEDIAPIPE)]


def encoder() -> Encoder:
    """The coarse encoder with the user's weights, read once per process."""
    return _coarse(str(assets.home()))


def detail_networks() -> tuple[Encoder, DetailDecoder]:
    """The detail encoder and decoder with the user's weights."""
    weights, _ = assets.load("deca")
    return _filled(Encoder(128), weights, "E_detail"), _filled(DetailDecoder(), weights, "D_detail")


@cache
def _coarse(home: str) -> Encoder:
    """``home`` only tells one set of files from another."""
    return _filled(Encoder(236), assets.load("deca")[0], "E_flame")


Network = TypeVar("Network", bound=torch.nn.Module)


def _filled(network: Network, weights: dict[str, NDArray], entry: str) -> Network:
    """Every tensor of the network from the file, and every one of the file into the network."""
    own = {k.removeprefix(f"{entry}."): torch.from_numpy(v) for k, v in weights.items() if k.startswith(f"{entry}.")}
    network.load_state_dict(own, strict=True)
    return network.eval()
