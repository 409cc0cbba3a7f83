"""Photos as other cameras take them: portraits of one source are alike in tone, sharpness and grain, users' are not."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from instaface.face.colour import linear_from_pixels, pixels_from_linear

EXPOSURE, BALANCE, CONTRAST = 0.3, 0.06, 0.15  # up to: stops, share of a channel, change of the exponent
BLUR, SHRUNK, SHARPENED = 1.2, 2.0, 0.8  # up to: deviation in pixels, times, share of the detail that is added
GRAIN = 6.0  # levels of 255: up to this deviation
QUALITY = (40, 95)  # of JPEG


def another_camera(pixels: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """The same scene in other colours, softer or sharpened, with grain, and compressed.

    Args:
        pixels: (H, W, 3) sRGB.
        random: decides all.

    Returns:
        (H, W, 3) uint8; nothing has moved.
    """
    picture = _sharpness(_tone(pixels, random), random)
    picture = picture + _grain(picture.shape, random)
    levels = np.rint(picture.clip(0, 255)).astype(np.uint8)
    quality = int(random.integers(*QUALITY))
    coded = cv2.imencode(".jpg", levels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])


def _tone(pixels: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.float32]:
    """Another exposure, white balance and contrast; levels of 255."""
    gain = 2 ** random.uniform(-EXPOSURE, EXPOSURE) * (1 + random.uniform(-BALANCE, BALANCE, 3))
    levels = pixels_from_linear((linear_from_pixels(pixels) * gain).clip(0, 1).astype(np.float32))
    exponent = 1 + random.uniform(-CONTRAST, CONTRAST)
    return (255 * (levels / 255).clip(0, 1) ** exponent).astype(np.float32)


def _sharpness(picture: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Out of focus, of few pixels, or sharpened."""
    kind, height, width = random.integers(3), *picture.shape[:2]
    if kind == 0:
        return cv2.GaussianBlur(picture, (0, 0), random.uniform(0.3, BLUR))
    if kind == 1:
        share = 1 / random.uniform(1, SHRUNK)
        small = cv2.resize(picture, (round(width * share), round(height * share)), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    return picture + random.uniform(0, SHARPENED) * (picture - cv2.GaussianBlur(picture, (0, 0), 1))


def _grain(shape: tuple[int, ...], random: np.random.Generator) -> NDArray[np.float32]:
    """Noise of brightness and, weaker, of colour, each a little smoothed, as demosaicing leaves it."""
    brightness, colour = (random.standard_normal((*shape[:2], k)).astype(np.float32) for k in (1, 3))
    noise = brightness + 0.5 * colour
    return np.float32(random.uniform(0, GRAIN)) * cv2.GaussianBlur(noise, (0, 0), random.uniform(0.4, 0.9))
