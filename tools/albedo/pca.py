"""Principal components of data with holes and outliers.

Weighted alternating least squares: coefficients of each sample from the texels it shows, then each texel from the
samples that show it (Roweis 1998, "EM algorithms for PCA and SPCA", section 4; weights as in De la Torre and Black
2003, "A framework for robust subspace learning"). Texels far from the fit lose their weight (Geman and McClure).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CORRELATION = 60.0  # texels that count as one
ROBUST = 3.0  # residuals beyond this many times the usual one lose their say
HOLD = 2.0  # samples' worth of belief that a texel does not vary

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Components:
    """A linear model: ``mean + coefficients @ basis``.

    Attributes:
        mean: (T, 3) float32.
        basis: (K, T, 3) float32 for coefficients of unit variance.
        coefficients: (N, K) float32 of the samples.
        trust: (N, T) float32 of the samples' texels, less where they are outliers.
        spread: (T,) float32, usual residual of a texel.
    """

    mean: Floats
    basis: Floats
    coefficients: Floats
    trust: Floats
    spread: Floats


def robust_pca(
    samples: Floats,
    trust: Floats,
    weights: Floats,
    guess: Floats,
    count: int,
    rounds: int = 8,
    correlation: float = CORRELATION,
) -> Components:
    """Learn components.

    Args:
        samples: (N, T, 3) float32.
        trust: (N, T) float32 0..1, 0 for missing texels. Every texel must be trusted in some sample.
        weights: (N,) float32, sum 1, of the samples.
        guess: (N, G) what is thought to vary with the samples' main components, to begin with.
        count: K, number of components.
        rounds: of alternation.
        correlation: how many texels count as one.
    """
    n = len(samples)
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((n, count - guess.shape[1])).astype(np.float32)
    coefficients = np.concatenate([_standard(guess, weights), noise], 1)
    current = trust
    for _ in range(rounds):
        # 1. Texels from coefficients.
        basis = regress(samples, current, weights, coefficients)
        # 2. Rotated to principal components.
        basis, coefficients = principal(basis, coefficients, weights)
        # 3. Outliers, by the residual that is usual at their texel.
        residual = np.stack([_residual(samples[i], coefficients[i], basis) for i in range(n)])
        spread = np.nanmedian(np.where(trust > 0.2, residual, np.nan), 0)
        spread = np.where(np.isfinite(spread), spread, np.nanmean(spread)) + 1e-4
        current = trust / (1 + (residual / (ROBUST * spread)) ** 2) ** 2
        # 4. Coefficients from texels.
        for i in range(n):
            coefficients[i] = posterior(samples[i] - basis[0], current[i] / correlation, basis[1:], spread)
    basis, coefficients = principal(regress(samples, current, weights, coefficients), coefficients, weights)
    return Components(basis[0], basis[1:], coefficients, current, spread)


def regress(samples: Floats, trust: Floats, weights: Floats, coefficients: Floats) -> Floats:
    """(1 + K, T, 3) mean and basis: each texel by weighted ridge regression on the coefficients."""
    design = np.concatenate([np.ones((len(coefficients), 1), np.float32), coefficients], 1)
    hold = HOLD / len(samples) * np.diag([1e-3, *[1.0] * coefficients.shape[1]]).astype(np.float32)
    out = np.empty((design.shape[1], *samples.shape[1:]), np.float32)
    for t in range(samples.shape[1]):
        rows = design * (weights * trust[:, t])[:, None]
        out[:, t] = np.linalg.solve(rows.T @ design + hold, rows.T @ samples[:, t])
    return out


def posterior(offset: Floats, trust: Floats, basis: Floats, spread: Floats) -> Floats:
    """(K,) coefficients of a sample's offset (T, 3) from the mean, by ridge regression on trusted texels."""
    scale = np.sqrt(trust) / spread
    rows = (basis * scale[:, None]).reshape(len(basis), -1)
    gram = rows @ rows.T + np.eye(len(basis), dtype=np.float32)
    return np.linalg.solve(gram, rows @ (offset * scale[:, None]).ravel())


def principal(basis: Floats, coefficients: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """The same linear model, (1 + K, T, 3) and (N, K), with principal components of unit variance, largest first."""
    centre = weights @ coefficients
    spread = (coefficients - centre).T @ ((coefficients - centre) * weights[:, None])
    mean = basis[0] + np.tensordot(centre, basis[1:], 1)
    flat = basis[1:].reshape(len(basis) - 1, -1)
    root = np.linalg.cholesky(spread + 1e-9 * np.eye(len(spread))).astype(np.float32)
    gram = root.T @ (flat @ flat.T) @ root  # of the basis for white coefficients
    vectors = np.linalg.eigh(gram.astype(np.float64))[1]
    turn = vectors[:, ::-1].astype(np.float32)
    new = turn.T @ root.T @ flat
    sign = np.where(new.sum(1) < 0, -1, 1).astype(np.float32)
    white = np.linalg.solve(root, (coefficients - centre).T).T @ turn * sign
    return np.concatenate([mean[None], (new * sign[:, None]).reshape(-1, *mean.shape)]), white.astype(np.float32)


def _standard(values: Floats, weights: Floats) -> Floats:
    offset = values - weights @ values
    return (offset / np.sqrt(weights @ offset**2)).astype(np.float32)


def _residual(sample: Floats, coefficients: Floats, basis: Floats) -> Floats:
    """(T,) root mean square over the channels."""
    guess = basis[0] + np.tensordot(coefficients, basis[1:], 1)
    return np.sqrt(((sample - guess) ** 2).mean(-1))
