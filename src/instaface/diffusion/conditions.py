"""From a geometric edit to what the networks take: everything on one canvas of the network's size."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.diffusion.interface import Conditions
from instaface.draft import Draft, reworked
from instaface.face import Camera, FaceParameters, MorphableModel
from instaface.render import render_maps, seen_region
from instaface.track import TrackedFace

KEPT = ("eyes", "lips", "mouth", "teeth", "gums", "tongue")  # parts of the face model that stay as they are drawn
OURS = "instaface"  # how maps are coded
MULTIPLE = 32  # sides of the canvas, so that every level of the U-Net has whole pixels


@dataclass(frozen=True)
class Canvas:
    """A face's frame, scaled so that its longer side is the network's size, and continued to whole multiples.

    Attributes:
        frame: (width, height) of the frame in pixels of the photo.
        scale: pixels of the canvas for each pixel of the photo.
        size: (width, height) of the canvas.
    """

    frame: tuple[int, int]
    scale: float
    size: tuple[int, int]

    @classmethod
    def of(cls, face: TrackedFace, size: int) -> Canvas:
        """The canvas of a face for a network of ``size`` pixels, a multiple of ``MULTIPLE``."""
        width, height = face.frame.width, face.frame.height
        scale = size / max(width, height)
        sides = (int(np.ceil(round(side * scale) / MULTIPLE)) * MULTIPLE for side in (width, height))
        return cls((width, height), scale, tuple(sides))  # type: ignore[arg-type]

    def camera(self, camera: Camera) -> Camera:
        """The camera of the canvas, from that of the frame."""
        width, height = self.size
        return camera.crop(0, 0, width / self.scale, height / self.scale, self.size)

    def put(self, values: NDArray, border: float | None = None) -> NDArray[np.float32]:
        """(h, w) or (h, w, C) over the frame to float32 over the canvas; beyond the frame its edge, or ``border``."""
        shrunk = (round(self.frame[0] * self.scale), round(self.frame[1] * self.scale))
        how = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_LINEAR
        small = cv2.resize(np.ascontiguousarray(values, np.float32), shrunk, interpolation=how)
        right, bottom = self.size[0] - shrunk[0], self.size[1] - shrunk[1]
        kind = cv2.BORDER_REPLICATE if border is None else cv2.BORDER_CONSTANT
        return cv2.copyMakeBorder(small, 0, bottom, 0, right, kind, value=[border or 0.0] * 4)

    def take(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """(H, W) or (H, W, C) over the canvas back to the frame, at the photo's resolution; inverse of :meth:`put`."""
        shrunk = (round(self.frame[0] * self.scale), round(self.frame[1] * self.scale))
        part = np.ascontiguousarray(values[: shrunk[1], : shrunk[0]])
        how = cv2.INTER_AREA if self.scale > 1 else cv2.INTER_CUBIC
        return cv2.resize(part, self.frame, interpolation=how)


def conditions(
    face: TrackedFace,
    drawn: Draft,
    edited: FaceParameters,
    model: MorphableModel,
    canvas: Canvas,
    convention: str = OURS,
    with_rendered: bool = True,
) -> Conditions:
    """The geometric edit as the networks take it.

    Args:
        face: the face as tracked.
        drawn: its geometric edit.
        edited: the parameters of that edit.
        model: the face model that they belong to.
        canvas: where everything is put.
        convention: of normals, albedo and rendering, the model's config says which.
        with_rendered: whether to render these.
    """
    camera = canvas.camera(face.frame_camera)
    maps = _rendered(convention, model, edited, camera) if with_rendered else {}
    coverage, mask = (canvas.put(part, outside) for part, outside in ((drawn.coverage, 1.0), (drawn.mask, 0.0)))
    maps["appearance"] = picture(canvas.put(drawn.appearance))
    maps["coverage"] = np.repeat(2 * coverage[None] - 1, 3, 0)
    kept = seen_region(model, edited, camera, *KEPT).astype(np.float32)
    region = reworked(coverage) * mask * (1 - cv2.GaussianBlur(kept, (0, 0), 1.5))
    source, shown = (picture(canvas.put(pixels)) for pixels in (face.frame_pixels, drawn.pixels))
    return Conditions(maps, source, shown, region[None])


def _rendered(
    convention: str, model: MorphableModel, edited: FaceParameters, camera: Camera
) -> dict[str, NDArray[np.float32]]:
    if convention == OURS:
        return render_maps(model, edited, camera).for_network()
    from instaface.render.conventions import network_maps  # which takes PyTorch

    return {name: values.numpy() for name, values in network_maps(convention, model, edited, camera).items()}


def picture(pixels: NDArray) -> NDArray[np.float32]:
    """(H, W, 3) 0..255 to (3, H, W) float32 in -1..1."""
    return np.ascontiguousarray((np.asarray(pixels, np.float32) / 127.5 - 1).transpose(2, 0, 1))
