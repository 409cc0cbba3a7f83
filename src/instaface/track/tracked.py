"""What the tracker finds."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from instaface.face import Camera, FaceParameters
from instaface.photo import Photo


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
    """Soft masks over a :class:`Frame`, at the frame's own resolution.

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
