"""The sRGB curve against the standard's own figures."""

import numpy as np
import torch

from instaface.face.colour import linear_from_pixels, linear_from_srgb, pixels_from_linear, srgb_from_linear


def test_known_values_and_round_trip():
    assert abs(float(linear_from_srgb(np.float32([0.5]))[0]) - 0.21404) < 1e-5
    assert abs(float(srgb_from_linear(np.float32([0.18]))[0]) - 0.46136) < 1e-5
    values = torch.linspace(-0.5, 1.5, 2001)
    torch.testing.assert_close(srgb_from_linear(linear_from_srgb(values)), values, atol=2e-6, rtol=0)
    assert linear_from_srgb(values).diff().min() > 0


def test_pixels_return_to_the_same_bytes():
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    linear = linear_from_pixels(pixels)
    assert linear.dtype == np.float32 and linear.min() == 0 and linear.max() == 1
    assert (pixels_from_linear(linear) == pixels).all()
