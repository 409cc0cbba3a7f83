"""Principal components of data with holes and outliers.

Expectation maximisation of probabilistic PCA (Tipping and Bishop 1999) with missing values (Roweis 1998, "EM algorithms
for PCA and SPCA"): holes are filled with the model's own reconstruction. Entries far from it lose their trust by the
weight function of Geman and McClure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CORRELATION = 60.0  # texels that count as one
ROBUST = 3.0  # residuals beyond this many times the usual one lose their say

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Components:
    """A linear model: ``mean + coefficients @ basis``.

    Attributes:
        mean: (T, 3) float32.
        basis: (K, T, 3) float32 for coefficients of unit variance.
        coefficients: (N, K) float32 of the samples.
        trust: (N, T) float32 of the samples' texels, outliers found.
        spread: (T,) float32, usual residual of a texel.
    """

    mean: Floats
    basis: Floats
    coefficients: Floats
    trust: Floats
    spread: Floats


def robust_pca(samples: Floats, trust: Floats, weights: Floats, components: int, rounds: int = 6) -> Components:
    """Learn components.

    Args:
        samples: (N, T, 3) float32.
        trust: (N, T) float32 0..1, 0 for missing texels. Every texel must be trusted in some sample.
        weights: (N,) float32, sum 1, of the samples.
        components: K.
        rounds: of expectation maximisation.
    """
    n, texels, _ = samples.shape
    mean = np.einsum("nt,ntc->tc", weights[:, None] * trust, samples) / (weights @ trust)[:, None]
    basis = np.zeros((0, texels, 3), np.float32)
    coefficients = np.zeros((n, 0), np.float32)
    spread = np.full(texels, 0.1, np.float32)
    current = trust
    for step in range(rounds):
        # 1. Coefficients from the texels that are trusted, and what they say about the others.
        residual = np.empty((n, texels), np.float32)
        filled = np.empty_like(samples)
        for i in range(n):
            if len(basis):
                coefficients[i] = posterior(samples[i] - mean, current[i], basis, spread)
            guess = mean + np.tensordot(coefficients[i], basis, 1)
            residual[i] = np.sqrt(((samples[i] - guess) ** 2).mean(-1))
            filled[i] = guess + current[i, :, None] * (samples[i] - guess)
        # 2. The usual residual, and what lies far outside of it.
        spread = np.sqrt((weights @ (current * residual**2) + 1e-8) / (weights @ current + 1e-8))
        if step > 0:
            current = trust / (1 + (residual / (ROBUST * spread)) ** 2) ** 2
        # 3. Mean and components of the filled samples; more of them as the fill gets better.
        mean = np.tensordot(weights, filled, 1)
        count = max(4, components * (step + 1) // rounds) if step < rounds - 1 else components
        basis, coefficients = principal(filled - mean, weights, count)
    return Components(mean, basis, coefficients, current, spread)


def posterior(offset: Floats, trust: Floats, basis: Floats, spread: Floats) -> Floats:
    """(K,) coefficients of a sample's offset (T, 3) from the mean, by ridge regression on trusted texels."""
    scale = np.sqrt(trust / CORRELATION) / spread
    rows = (basis * scale[:, None]).reshape(len(basis), -1)
    gram = rows @ rows.T + np.eye(len(basis), dtype=np.float32)
    return np.linalg.solve(gram, rows @ (offset * scale[:, None]).ravel())


def principal(offsets: Floats, weights: Floats, count: int) -> tuple[Floats, Floats]:
    """Weighted PCA: (K, T, 3) basis for unit variance and (N, K) coefficients; each sign such that the sum is positive."""
    flat = offsets.reshape(len(offsets), -1)
    root = np.sqrt(weights)[:, None]
    gram = (flat @ flat.T).astype(np.float64) * root * root.T
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    # basis_k = sqrt(value_k) u_k, and u_k = flat^T (root vector_k) / sqrt(value_k)
    basis = (root * vectors).T.astype(np.float32) @ flat
    sign = np.where(basis.sum(1) < 0, -1, 1).astype(np.float32)
    coefficients = (vectors / root).astype(np.float32) * sign
    return (basis * sign[:, None]).reshape(count, *offsets.shape[1:]), coefficients
