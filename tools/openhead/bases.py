"""The bases on our vertices: identity learned from samples, expression, eyes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from openhead.regions import smoothstep
from openhead.source import ARKIT_NAMES, Source
from openhead.topology import Topology

N_IDENTITY = 100
N_SAMPLES = 4000
SEED = 20250228
EYE_RADIUS = 1.60  # centimetres: the cornea is flattened to it, so that lids pass over
TONGUE_OUT = np.array([0.0, 0.6, 4.0])  # centimetres that the tongue's tip moves


@dataclass(frozen=True)
class Bases:
    """
    Attributes:
        mean: (V, 3) the mean face.
        identity: (I, V, 3) principal components, scaled to unit variance of their coefficients.
        expression: (52, V, 3) offsets of the ARKit blendshapes.
        eye_centre: (2, 3) of the mean's left and right eyeball.
        eye_centre_identity: (I, 2, 3) how they move with identity.
    """

    mean: NDArray[np.float64]
    identity: NDArray[np.float64]
    expression: NDArray[np.float64]
    eye_centre: NDArray[np.float64]
    eye_centre_identity: NDArray[np.float64]


def learn_bases(source: Source, topology: Topology, regions: dict[str, NDArray[np.bool_]]) -> Bases:
    """Draws identities from the source and takes their principal components on our vertices."""
    mean = source.neutral[topology.kept]
    offsets = source.identity[:, topology.kept].astype(np.float64)
    identity = principal_components(offsets, N_IDENTITY)
    expression = source.expression[:, topology.kept].astype(np.float64)
    expression[:, regions["eyes"]] = 0  # eyeballs rotate; the source leaves them at rest but for rounding
    expression = np.concatenate([expression, tongue_out(mean, regions)[None]])
    assert len(expression) == len(ARKIT_NAMES)
    centres, moves = [], []
    for side in ("left", "right"):
        eye = regions[f"eyeball_{side}"]
        centre = sphere(mean[eye])
        arm = mean[eye] - centre
        mean[eye] = centre + arm * np.minimum(1, EYE_RADIUS / np.linalg.norm(arm, axis=1, keepdims=True))
        # Where an affine map that explains a component's offsets on the eyeball takes its centre.
        design = np.c_[mean[eye] - centre, np.ones(eye.sum())]
        moves.append(np.stack([np.linalg.lstsq(design, c[eye], rcond=None)[0][3] for c in identity]))
        centres.append(centre)
    return Bases(mean, identity, expression, np.stack(centres), np.stack(moves, 1))


def principal_components(offsets: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Components of ``N_SAMPLES`` random identities, each with its opposite, so that the mean is neutral."""
    flat = offsets.reshape(len(offsets), -1)
    orthogonal, mixing = np.linalg.qr(flat.T)
    draws = np.random.default_rng(SEED).standard_normal((N_SAMPLES // 2, len(offsets)))
    samples = draws @ mixing.T
    variance, axes = np.linalg.eigh(samples.T @ samples / len(samples))
    order = np.argsort(-variance)[:count]
    components = (orthogonal @ axes[:, order] * np.sqrt(variance[order])).T
    sign = np.sign(components[np.arange(count), np.abs(components).argmax(1)])
    return (components * sign[:, None]).reshape(count, -1, 3)


def sphere(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centre of the least-squares sphere through points."""
    solution = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(1), rcond=None)[0]
    return solution[:3]


def tongue_out(mean: NDArray[np.float64], regions: dict[str, NDArray[np.bool_]]) -> NDArray[np.float64]:
    """The source has no ``tongueOut``: the tongue is pulled forwards, the more the nearer to its tip.

    It passes between the lips when ``jawOpen`` is set as well."""
    out = np.zeros_like(mean)
    tongue = regions["tongue"]
    z = mean[tongue, 2]
    out[tongue] = smoothstep(z.min(), z.max(), z)[:, None] * TONGUE_OUT
    return out
