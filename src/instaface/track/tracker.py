"""The tracker: every face of a photo, in numbers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from instaface.face import Camera, FaceParameters, rotation_from_angles
from instaface.photo import Photo, read_photo
from instaface.track import warmup
from instaface.track.detect import Detection, detect, overlap
from instaface.track.fit import Fit, fit, landmark_basis
from instaface.track.landmarks import Landmarks, find_landmarks
from instaface.track.light import fit_light
from instaface.track.matte import frame_of, matte
from instaface.track.tracked import WORKING, TrackedFace, at_working_size

if TYPE_CHECKING:
    from instaface.face import OpenHead

MAX_FIT_ERROR = 6.0  # % of the inter-ocular distance: worse than any face, and what drawings of cats come to
COARSE_MATTE = 144  # pixels on the longer side
SHOULDERS = 0.3  # of the head's yaw and roll that the shoulders take part in; landmarks do not show them


def track(
    photo: Photo | str | Path | NDArray[np.uint8],
    faces: int | None = None,
    model: OpenHead | None = None,
    quick: bool = False,
) -> list[TrackedFace]:
    """Finds and measures every face of a photo.

    Args:
        photo: a photo, a path, or an (H, W, 3) uint8 RGB array.
        faces: how many faces to measure at most, the largest ones; all by default.
        model: the face model to fit, OpenHead by default.
        quick: to save two thirds of the time where only pose, expression and landmarks count: the light is plain and
            the matte coarse.

    Returns:
        Faces, largest first; an empty list where there is none.

    Raises:
        InstaFaceError: the photo cannot be read.
    """
    from instaface.face import OpenHead

    photo, model = read_photo(photo), model or OpenHead.load("numpy")
    warmup.begin(model)
    clock = _Clock()
    with clock("detect"):
        detections = detect(photo.pixels)
    with clock("landmarks"):
        found = _distinct(photo.pixels, detections)
    tracked: list[TrackedFace] = []
    for landmarks in found:
        if faces is not None and len(tracked) == faces:
            break
        face = _measure(photo, landmarks, len(tracked), model, quick, clock.shared(len(found)))
        if face is not None:
            tracked.append(face)
    return tracked


def _distinct(pixels: NDArray[np.uint8], detections: list[Detection]) -> list[Landmarks]:
    """Landmarks of the detections that are faces, each face once, largest first."""
    kept: list[Landmarks] = []
    for detection in detections:
        landmarks = find_landmarks(pixels, detection)
        if landmarks is not None and all(overlap(landmarks.box, other.box) < 0.4 for other in kept):
            kept.append(landmarks)
    return sorted(kept, key=lambda face: -(face.box[3] - face.box[1]))


def _measure(
    photo: Photo, landmarks: Landmarks, index: int, model: OpenHead, quick: bool, clock: _Clock
) -> TrackedFace | None:
    """One face; None where the landmarks are not a face's."""
    camera = Camera.for_photo(photo.width, photo.height, photo.focal)
    with clock("fit"):
        found = fit(landmark_basis(model), landmarks.points.astype(np.float64), camera)
        if not found.error < MAX_FIT_ERROR:
            return None
        parameters = parameters_of(found, model)
    frame = frame_of(landmarks.points, photo.width, photo.height)
    pixels = photo.pixels[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width]
    with clock("matte"):
        corner = np.array([frame.x, frame.y], np.float32)
        middle = between_the_ears(parameters, model, camera) - corner
        longest = COARSE_MATTE if quick else WORKING
        masks = matte(pixels, landmarks.points - corner, middle, longest)
        small = at_working_size(pixels, longest)
    if not quick:
        with clock("light"):
            size = small.shape[1], small.shape[0]
            frame_camera = camera.crop(frame.x, frame.y, frame.width, frame.height, size)
            parameters = fit_light(model, parameters, frame_camera, small, masks.person - masks.hair)
    return TrackedFace(
        photo=photo,
        index=index,
        box=landmarks.box,
        score=landmarks.score,
        landmarks=landmarks.points,
        parameters=parameters,
        camera=camera,
        frame=frame,
        matte=masks,
        fit_error=found.error,
        model=model.name,
        timings=clock.seconds,
    )


def parameters_of(found: Fit, model: OpenHead) -> FaceParameters:
    """A fit as parameters, batch of 1, in plain light."""
    yaw, _, roll = found.head
    body = np.array([SHOULDERS * yaw, 0.0, SHOULDERS * roll])
    values = {
        "identity": found.identity,
        "expression": found.expression,
        "head": found.head,
        "body": body,
        "translation": found.translation,
        "gaze": found.gaze,
    }
    return model.neutral().numpy().replace(**{k: np.asarray(value, np.float32)[None] for k, value in values.items()})


def between_the_ears(parameters: FaceParameters, model: OpenHead, camera: Camera) -> NDArray[np.float32]:
    """(2,) pixels of the model's origin in a posed head."""
    arm = np.asarray(rotation_from_angles(parameters.head[0])) @ -np.asarray(model.neck_joint)
    return camera.project(np.asarray(parameters.translation[0]) + arm)[:2]


class _Clock:
    """Seconds by step."""

    def __init__(self, seconds: dict[str, float] | None = None) -> None:
        self.seconds = seconds or {}

    @contextmanager
    def __call__(self, step: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[step] = time.perf_counter() - start

    def shared(self, faces: int) -> _Clock:
        """A clock of one of several faces that share the time so far."""
        return _Clock({step: seconds / faces for step, seconds in self.seconds.items()})
