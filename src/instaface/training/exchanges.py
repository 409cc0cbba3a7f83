"""Parts of photos exchanged: portraits of one source are alike in what surrounds a face, users' photos are not."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.draft import take_apart
from instaface.face import MorphableModel
from instaface.photo import Photo
from instaface.track import TrackedFace

Array = NDArray[np.float32]

OUTLINE = (10, 21, 162, 389, 234, 454, 132, 361, 172, 397, 33, 263, 1, 152)  # landmarks by which heads are matched
CORNERS = 9  # of what is held before a face
HELD = (0.08, 0.2)  # its radius, as share of the picture's side
SHADED = 0.6  # how much brighter one end of the picture's side would be than the other
NOSE = 1  # landmark of its tip


def other_background(face: TrackedFace, other: TrackedFace, model: MorphableModel) -> TrackedFace:
    """The person before what is behind another one; nothing has moved.

    Where the matte is soft, the photo is person and background in proportion, of which the background is exchanged.
    """
    face = face.working
    own, behind = (scene.plate[scene.window] for scene in (take_apart(f, model) for f in (face, other)))
    height, width = own.shape[:2]
    behind = cv2.resize(behind, (width, height), interpolation=cv2.INTER_AREA)
    seen_through = 1 - face.matte.person[..., None]
    return replace(face, photo=_photo(face.frame_pixels + seen_through * (behind - own)))


def other_hair(face: TrackedFace, other: TrackedFace, model: MorphableModel) -> Photo:
    """The person with another one's hair over their own, placed by the outlines of the two faces."""
    face, other = face.working, other.working
    scene = take_apart(other, model)
    layer = np.dstack([scene.head[..., :3], scene.hair])[scene.window]
    theirs, own = (f.landmarks[list(OUTLINE)] - (f.frame.x, f.frame.y) for f in (other, face))
    place, _ = cv2.estimateAffinePartial2D(theirs, own)
    height, width = face.frame_pixels.shape[:2]
    moved = cv2.warpAffine(layer, place, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return _photo(face.frame_pixels + moved[..., 3:] * (moved[..., :3] - face.frame_pixels))


def held_before(face: TrackedFace, random: np.random.Generator) -> Photo:
    """The person with a thing of one colour, rounded and shaded, before the face's lower half or side."""
    pixels = face.working.frame_pixels
    height, width = pixels.shape[:2]
    x, y = np.mgrid[:width, :height].transpose(0, 2, 1) / max(height, width)
    direction = random.uniform(0, 2 * np.pi)
    shade = 1 + SHADED * (np.cos(direction) * x + np.sin(direction) * y)
    thing = random.uniform(0, 200, 3) * shade[..., None] + random.normal(0, 2, (height, width, 1))
    return _photo(pixels + _outline(face.working, random)[..., None] * (thing - pixels))


def _outline(face: TrackedFace, random: np.random.Generator) -> Array:
    """(H, W) opacity of a rounded shape that covers a part of the face from the nose down."""
    height, width = face.frame_pixels.shape[:2]
    landmarks = face.landmarks - (face.frame.x, face.frame.y)
    low, high = landmarks.min(0), landmarks.max(0)
    middle = random.uniform((low[0], landmarks[NOSE][1]), high)
    angles = np.sort(random.uniform(0, 2 * np.pi, CORNERS))
    radii = random.uniform(*HELD, CORNERS)[:, None] * max(height, width)
    corners = middle + radii * np.stack([np.cos(angles), np.sin(angles)], -1)
    shape = cv2.fillPoly(np.zeros((height, width), np.uint8), [corners.astype(np.int32)], (255,))
    rounded = cv2.GaussianBlur(shape, (0, 0), 0.02 * width) > 127
    return cv2.GaussianBlur(rounded.astype(np.float32), (0, 0), 1)


def _photo(levels: NDArray[np.floating]) -> Photo:
    return Photo(np.rint(levels.clip(0, 255)).astype(np.uint8))
