"""Soft masks of the person and of the hair over the frame that an edit works on.

The person comes from MediaPipe's selfie segmentation, which is right about where the person is and wrong by some
pixels about the outline; the outline is then matted with the colours of foreground and background that are found on
either side of it. Hair is what of the person is neither skin nor clothes by colour, texture and place.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from instaface.track import graphs
from instaface.track.hair import shares
from instaface.track.tracked import WORKING, Frame, Matte, at_working_size

FRAME_FACES = 3.0  # side of the frame over the height of the face's landmarks
COARSE = 256  # pixels: the segmentation network's picture
COLOURS = 128  # pixels: grid on which the colours of either side of an outline are looked up
BAND = 0.03  # half-width of the uncertain band along the outline, of the frame's side

FIRM = 0.2, 0.6  # found opacity of skin and clothes from nothing to all: it is too low where their colours vary

Floats = NDArray[np.float32]


def frame_of(landmarks: Floats, width: int, height: int) -> Frame:
    """The square around a face that holds head, hair and shoulders, clipped to the photo.

    Args:
        landmarks: (478, 2) in pixels of the photo.
        width: of the photo.
        height: of the photo.
    """
    (x0, y0), (x1, y1) = landmarks.min(0), landmarks.max(0)
    reach = FRAME_FACES / 2 * max(y1 - y0, x1 - x0)
    cx, cy = (x0 + x1) / 2, (y0 + y1) / 2
    left, right = (int(np.clip(np.floor(v), 0, width - 1)) for v in (cx - reach, cx + reach))
    top, bottom = (int(np.clip(np.floor(v), 0, height - 1)) for v in (cy - reach, cy + reach))
    return Frame(left, top, right + 1 - left, bottom + 1 - top)


def matte(pixels: NDArray[np.uint8], landmarks: Floats, middle: Floats | None = None, longest: int = WORKING) -> Matte:
    """Person, hair and clothes in a frame.

    Args:
        pixels: (H, W, 3) uint8 RGB of the frame.
        landmarks: (478, 2) in pixels of the frame.
        middle: (2,) pixels of the point between the ears; by default between the eyes, which is beside it in a
            head that turns.
        longest: pixels of the masks' longer side at most; small frames are enlarged, see :func:`at_working_size`.
    """
    height, width = pixels.shape[:2]
    small = at_working_size(pixels, longest)
    scale = small.shape[1] / width
    person = refine(small, _around(coarse_person(small), landmarks / (width, height) * COARSE))
    middle = None if middle is None else middle * scale
    hair, clothes = shares(small, person, landmarks * scale, middle)
    firm = ((person - FIRM[0]) / (FIRM[1] - FIRM[0])).clip(0, 1)
    person = person + (1 - _share(hair, person)) * (firm - person)  # only hair lets anything through
    if THIN * max(small.shape) >= 1:  # a coarse matte shows no strands
        loose = strands(small, person, hair)
        person, hair = np.maximum(person, loose), np.maximum(hair, loose)
    hair = np.minimum(hair, person)
    return Matte(person, hair, np.minimum(clothes, person - hair))


def _share(part: Floats, whole: Floats) -> Floats:
    return part / np.maximum(whole, 1e-3)


def coarse_person(pixels: NDArray[np.uint8]) -> Floats:
    """(256, 256) float32 0..1: the segmentation network's view, the mean over the picture and its mirror image."""
    import cv2

    small = cv2.resize(pixels, (COARSE, COARSE), interpolation=cv2.INTER_AREA)
    return (graphs.person(small) + graphs.person(small[:, ::-1])[:, ::-1]) / 2


def _around(coarse: Floats, landmarks: Floats) -> Floats:
    """The person whose face it is, without others in the frame that do not touch.

    Args:
        coarse: (256, 256) float32 0..1.
        landmarks: (478, 2) in pixels of ``coarse``.
    """
    import cv2

    _, labels = cv2.connectedComponents((coarse > 0.3).astype(np.uint8))
    x, y = landmarks.astype(int).clip(0, COARSE - 1).T
    counts = np.bincount(labels[y, x], minlength=2)
    if counts[1:].max() < 0.2 * len(landmarks):  # the network sees nobody here: leave it as it is
        return coarse
    mine = (labels == 1 + int(np.argmax(counts[1:]))).astype(np.uint8)
    return coarse * cv2.dilate(mine, np.ones((7, 7), np.uint8))


def refine(pixels: NDArray[np.uint8], coarse: Floats) -> Floats:
    """Mattes the outline of a coarse mask.

    In a band along the outline, the opacity is how far a pixel's colour has come from the background's on the way
    to the foreground's, both means over the nearest sure pixels; where the two cannot be told apart, the coarse mask
    stays. A guided filter (He et al. 2013) smooths the opacity along the picture's own edges.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        coarse: (256, 256) float32 0..1, stretched over the picture.

    Returns:
        (H, W) float32 0..1.
    """
    import cv2

    height, width = pixels.shape[:2]

    def full(a: Floats) -> Floats:
        return cv2.resize(a, (width, height), interpolation=cv2.INTER_LINEAR)

    radius = round(BAND * COARSE)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    sure_fore, sure_back = (
        cv2.erode(sure.astype(np.uint8), disk, borderType=cv2.BORDER_REPLICATE).astype(np.float32)
        for sure in (coarse > 0.85, coarse < 0.15)
    )
    (fore, fore_spread), (back, back_spread) = _local_colours(pixels, sure_fore, sure_back)
    contrast = _squared(fore - back)
    trust = contrast / (contrast + fore_spread + 2 * back_spread + 0.004)
    trust *= bool(sure_fore.any() and sure_back.any())

    path = full(np.sqrt(contrast))
    start = np.minimum(2 * full(np.sqrt(back_spread)) + 0.01, 0.5 * path)  # the background's own variation
    away = np.sqrt(_squared(pixels * np.float32(1 / 255) - full(back)))
    opacity = ((away - start) / (0.85 * path - start + 1e-3)).clip(0, 1)
    trust = full(trust)
    opacity = trust * opacity + (1 - trust) * full(coarse)

    inside, outside = full(sure_fore) > 0.99, full(sure_back) > 0.99
    opacity = np.where(inside, 1, np.where(outside, 0, opacity)).astype(np.float32)
    smooth = guided(opacity, pixels, max(2, round(0.006 * max(height, width))), 0.015)
    return np.where(inside, 1, np.where(outside, 0, smooth)).astype(np.float32)


def _squared(colours: Floats) -> Floats:
    """(H, W, C) to (H, W) sums of squares."""
    return np.asarray(np.einsum("hwc,hwc->hw", colours, colours))


def strands(pixels: NDArray[np.uint8], person: Floats, hair: Floats) -> Floats:
    """Loose strands of hair before a plain background, beyond the band in which the outline is matted.

    How far a pixel's colour has come from the wall's on the way to the hair's is its opacity; of that, what is thin
    (a white top-hat), stands out of the wall's own grain and hangs together with the hair is a strand.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        person: (H, W) float32 0..1.
        hair: (H, W) float32 0..1, at most ``person``.

    Returns:
        (H, W) float32 0..1.
    """
    import cv2

    height, width = person.shape

    def around(mask: Floats, reach: float) -> Floats:
        return cv2.blur(mask, (2 * round(reach * max(height, width)) + 1,) * 2)

    locks = (hair > 0.9).astype(np.float32)
    wall = (around(person, 0.01) < 1e-3).astype(np.float32)
    if not locks.any() or not wall.any():
        return np.zeros_like(person)
    # 1. How far each pixel's colour has come from the wall's to the hair's.
    (fore, _), (back, _) = _local_colours(pixels, locks, wall)
    path = fore - back
    path /= np.maximum((path**2).sum(2, keepdims=True), 0.01)
    offset = (back * path).sum(2, keepdims=True)
    path = cv2.resize(np.dstack([path, offset]), (width, height), interpolation=cv2.INTER_LINEAR)
    come = np.einsum("hwc,hwc->hw", pixels * np.float32(1 / 255), path[..., :3]) - path[..., 3]
    # 2. What of it is thin, and stands out of the wall's grain.
    thickness = 2 * round(THIN * max(height, width)) + 1
    thin = come - cv2.morphologyEx(come, cv2.MORPH_OPEN, np.ones((thickness, thickness), np.uint8))
    grain = around(thin * wall, 0.05) / np.maximum(around(wall, 0.05), 1e-3)
    opacity = thin * _ramp(thin, 2 * grain + 0.02, 4 * grain + 0.06)
    # 3. What of that is outside of the person and hangs together with the hair.
    opacity *= (person < 0.3) & (around(locks, STRANDS) > 0)
    close = cv2.dilate(((opacity > 0.03) | (person > 0.3)).astype(np.uint8), np.ones((3, 3), np.uint8))
    _, labels = cv2.connectedComponents(close)
    attached = np.zeros(labels.max() + 1, bool)
    attached[labels[locks > 0]] = True
    attached[0] = False
    return (opacity.clip(0, 1) * attached[labels]).astype(np.float32)


THIN = 0.005  # of the picture's longer side: half the thickness of a strand at most
STRANDS = 0.08  # of the picture's longer side: how far from the hair strands are looked for


def _ramp(values: Floats, low: Floats, high: Floats) -> Floats:
    return ((values - low) / (high - low)).clip(0, 1)


def guided(values: Floats, guide: NDArray[np.uint8], radius: int, edge: float, scale: float = 1.0) -> Floats:
    """Guided filter (He et al. 2013) of ``values`` 0..1 along the edges of a colour picture.

    Args:
        values: (H, W) or (H, W, C) float32.
        guide: (H, W, 3) uint8.
        radius: of the window in pixels.
        edge: standard deviation, 0..1, of what counts as an edge.
        scale: at which the filter looks at its window, less than 1 for speed (He and Sun 2015).
    """
    return guide_filter(guide, radius, edge, scale)(values)


def guide_filter(guide: NDArray[np.uint8], radius: int, edge: float, scale: float = 1.0) -> Callable[[Floats], Floats]:
    """:func:`guided` for several filterings along the edges of one picture, whose part is done once."""
    import cv2

    # In 8-bit units: in 0..1 the filter's own arithmetic loses small values of epsilon.
    along = cv2.ximgproc.createGuidedFilter(guide, radius, (255 * edge) ** 2, scale)
    return lambda values: along.filter(values).clip(0, 1)


def _local_colours(pixels: NDArray[np.uint8], *masks: Floats) -> list[tuple[Floats, Floats]]:
    """:func:`_local_colour` in each of several masks, on a grid of COLOURS x COLOURS.

    Args:
        pixels: (H, W, 3) uint8 RGB.
        masks: float32, 1 where a pixel counts, each stretched over the picture.
    """
    import cv2

    size = (COLOURS, COLOURS)
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    shrunk = [(cv2.resize(mask, size, interpolation=cv2.INTER_AREA) > 0.99).astype(np.float32) for mask in masks]
    return [_local_colour(small, mask, round(BAND * COLOURS)) for mask in shrunk]


def _local_colour(pixels: Floats, sure: Floats, radius: int) -> tuple[Floats, Floats]:
    """Mean colour and summed variance of the sure pixels around each pixel, near ones first.

    Args:
        pixels: (H, W, 3) float32.
        sure: (H, W) float32, 1 where a pixel counts.
        radius: of the inner window.

    Returns:
        (H, W, 3) means and (H, W) variances.
    """
    import cv2

    stack = np.concatenate([pixels, pixels**2, np.ones_like(pixels[..., :1])], 2) * sure[..., None]
    total = np.full_like(stack, 1e-12)
    for weight, reach in ((1.0, radius), (1e-3, 3 * radius), (1e-6, 10 * radius)):
        total += weight * cv2.blur(stack, (2 * reach + 1,) * 2)
    mean, square = total[..., :3] / total[..., 6:], total[..., 3:6] / total[..., 6:]
    return mean, (square - mean**2).clip(0).sum(2)
