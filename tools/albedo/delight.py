"""Albedo of unwrapped photos: their light is fitted and divided out.

A photo tells the product of skin tone and light. What splits it is a prior: the mean shading of a face as photographed
is about the same for everybody (:mod:`instaface.track.light` holds the level and its spread), and whatever
varies more than that is skin tone. Both are normal in the logarithm, so that the split is linear.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from albedo.unwrap import Layout, Unwrapped
from instaface.face.light import basis
from instaface.track.light import AMBIENT, AMBIENT_SPREAD, COLOUR_SPREAD

DIRECTED, SECOND = 0.6, 0.15  # standard deviations of first and second-order light over the mean shading
NOISE = 0.1  # of skin about the fit, relative
ROBUST = 2.0  # deviations beyond this many times the noise lose their say
CORRELATION = 200.0  # texels that count as one
DARKEST = 0.3  # shading over its mean: where less light falls, albedo is not read

Floats = NDArray[np.float64]


def fit_product(photo: Unwrapped, detail: Floats, place: Layout) -> tuple[Floats, Floats]:
    """Skin tone times light, by robust ridge regression on plain skin.

    Args:
        photo: unwrapped.
        detail: (S, S, 3) albedo of the mean face over its mean.
        place: the texture's layout.

    Returns:
        (3,) its mean over the plain skin that is seen, and (9, 3) the light for an albedo of ``detail``.
    """
    use = place.plain & (photo.weight > 0.2)
    rows, colours = _harmonics(photo)[use], photo.colour[use] / detail[use]
    ridge = np.diag([0.0, *[DIRECTED**-2] * 3, *[SECOND**-2] * 5])
    trust = photo.weight[use].astype(np.float64) / (NOISE**2 * CORRELATION)
    weights = trust
    light = np.zeros((9, 3))
    for _ in range(8):
        level = np.maximum((weights[:, None] * colours).sum(0) / weights.sum(), 1e-4)
        weighted = (rows * weights[:, None]).T
        light = np.linalg.solve(weighted @ rows + ridge, weighted @ (colours / level)) * level
        squares = (((colours - rows @ light) / level) ** 2).mean(1) / NOISE**2
        weights = trust / (1 + squares / ROBUST**2) ** 2
    mean = (trust[:, None] * (rows @ light)).sum(0) / trust.sum()
    return np.maximum(mean, 1e-4), light


def split(products: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Skin tones and mean shadings whose products were measured.

    Args:
        products: (N, 3).
        weights: (N,) of the photos, which balance the groups.

    Returns:
        (N, 3) tones and (N, 3) shadings: the means of their posterior, whose product is ``products``.
    """
    log = np.log(products)
    weights = weights / weights.sum()
    centre = weights @ log
    total = (log - centre).T @ ((log - centre) * weights[:, None])
    grey = np.full((3, 3), 1 / 3)
    root = np.linalg.cholesky(3 * AMBIENT_SPREAD**2 * grey + COLOUR_SPREAD**2 * (np.eye(3) - grey))
    inverse = np.linalg.inv(root)
    # In units of the light's spread: where photos vary less than light may, all that varies is light.
    values, vectors = np.linalg.eigh(inverse @ total @ inverse.T)
    share = root @ (vectors * np.minimum(1, 1 / np.maximum(values, 1e-12))) @ vectors.T @ inverse
    shading = np.exp(np.log(AMBIENT) + (log - centre) @ share.T)
    return products / shading, shading


def albedo_of(photo: Unwrapped, light: Floats, place: Layout, tone: Floats, detail: Floats) -> tuple[Floats, Floats]:
    """Albedo texture (S, S, 3) of a photo, and its trust (S, S).

    Args:
        photo: unwrapped.
        light: (9, 3).
        place: the texture's layout.
        tone: (3,) of the photo's skin.
        detail: (S, S, 3) of the mean face.
    """
    shading = _harmonics(photo) @ light
    level = shading[place.plain].mean(0)
    lit = np.maximum(shading, DARKEST * level)
    out = photo.colour / lit
    trust = photo.weight * place.learned * np.clip((shading / level).min(-1) / DARKEST - 1, 0, 1)
    # Clothes, frames of glasses, strands of hair, shadows: texels that skin of this tone would not show.
    log = np.log(np.maximum(out, 1e-4)) - np.log(tone * detail)
    hue = log - log.mean(-1, keepdims=True)
    skin = (np.abs(log.mean(-1)) < place.darkness) & (np.linalg.norm(hue, axis=-1) < place.hue)
    return out, trust * skin


def _harmonics(photo: Unwrapped) -> Floats:
    """(S, S, 9)"""
    return basis(torch.from_numpy(photo.normals)).numpy()
