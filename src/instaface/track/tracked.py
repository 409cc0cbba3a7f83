"""What the tracker finds."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from instaface.face import Camera, FaceParameters
from instaface.photo import Photo

# Pixels of the longer side at which a frame's masks and layers are made: large ones are worked on smaller, small ones
# larger, so that what is drawn in them has soft edges when it is brought back.
SMALLEST, WORKING = 512, 1024


def at_working_size(pixels: NDArray[np.uint8], longest: int = WORKING) -> NDArray[np.uint8]:
    """(H, W, 3) pixels of a frame, scaled so that its longer side has at least ``SMALLEST``, at most ``longest``."""
    import cv2

    height, width = pixels.shape[:2]
    scale = min(max(width, height, SMALLEST), longest) / max(width, height)
    if scale == 1:
        return np.ascontiguousarray(pixels)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return cv2.resize(pixels, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


@dataclass(frozen=True)
class Frame:
    """The part of a photo that an edit of one face works on: a rectangle of whole pixels inside the photo.

    Attributes:
        x: left edge in the photo.
        y: top edge in the photo.
        width: width in pixels of the photo.
        height: height in pixels of the photo.
    """

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Matte:
    """Soft masks over a :class:`Frame`, ``SMALLEST`` to ``WORKING`` pixels on the longer side; its own where it can be.

    Attributes:
        person: (H, W) float32 0..1, opacity of the person (skin, hair, clothes, what is worn or held).
        hair: (H, W) float32 0..1, the share of hair (head and facial hair that stands off the skin, hats count as
            hair: all that turns with the head and is not covered by the face model); at most ``person``.
        clothes: (H, W) float32 0..1, the share of clothes; together with ``hair`` at most ``person``.
    """

    person: NDArray[np.float32]
    hair: NDArray[np.float32]
    clothes: NDArray[np.float32]


@dataclass(frozen=True)
class TrackedFace:
    """One face of a photo, in numbers.

    Attributes:
        photo: the whole photo.
        index: place among the photo's faces, largest first.
        box: (x0, y0, x1, y1) of the landmarks in pixels of the photo.
        score: confidence of the detector, 0..1.
        landmarks: (478, 2) float32 MediaPipe Face Mesh landmarks in pixels of the photo.
        parameters: fitted parameters, batch of 1.
        camera: camera of the whole photo.
        frame: the part of the photo that an edit works on.
        matte: masks over ``frame``.
        fit_error: mean distance of fitted from found landmarks, in % of the inter-ocular distance.
        model: name of the face model that ``parameters`` belong to.
        timings: seconds by step.
    """

    photo: Photo
    index: int
    box: tuple[float, float, float, float]
    score: float
    landmarks: NDArray[np.float32]
    parameters: FaceParameters
    camera: Camera
    frame: Frame
    matte: Matte
    fit_error: float
    model: str = "openhead"
    timings: dict[str, float] = field(default_factory=dict)

    @cached_property
    def working(self) -> TrackedFace:
        """The same face in a photo that is its frame alone, at the matte's resolution; itself where that is the
        frame's own."""
        height, width = self.matte.person.shape
        frame = self.frame
        if (width, height) == (frame.width, frame.height):
            return self
        pixels = at_working_size(self.frame_pixels, max(width, height))
        scale = width / frame.width
        corner = np.array([frame.x, frame.y], np.float32)
        left, top, right, bottom = self.box
        x0, y0, x1, y1 = ((v - c) * scale for v, c in zip((left, top, right, bottom), (*corner, *corner), strict=True))
        return replace(
            self,
            photo=Photo(pixels),
            box=(x0, y0, x1, y1),
            landmarks=(self.landmarks - corner) * scale,
            camera=self.camera.crop(frame.x, frame.y, frame.width, frame.height, (width, height)),
            frame=Frame(0, 0, width, height),
        )

    @property
    def frame_camera(self) -> Camera:
        """Camera of the frame, at the photo's resolution."""
        f = self.frame
        return self.camera.crop(f.x, f.y, f.width, f.height, (f.width, f.height))

    @property
    def frame_pixels(self) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 pixels of the frame, a view of the photo's."""
        f = self.frame
        return self.photo.pixels[f.y : f.y + f.height, f.x : f.x + f.width]
