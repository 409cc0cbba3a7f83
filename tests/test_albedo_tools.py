"""The steps that learn the albedo model, on data made by a known model."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from instaface.face.openhead import ASSETS, OpenHead
from instaface.track.light import AMBIENT

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
from albedo.delight import split
from albedo.learn import layout_checksum
from albedo.pca import robust_pca
from albedo.texture import membrane, spread_out, symmetric


@pytest.fixture(scope="module")
def asset() -> dict[str, np.ndarray]:
    with np.load(ASSETS / "albedo.npz") as data:
        return dict(data)


def test_asset_was_learned_for_the_texture_layout_that_ships(asset):
    assert asset["layout"] == layout_checksum(), "run tools/build_albedo.py after a change of OpenHead's layout"


def test_asset_is_small_and_its_skins_are_plausible(asset):
    assert (ASSETS / "albedo.npz").stat().st_size <= 8e6
    model = OpenHead.load()
    assert model.n_albedo >= 40
    assert model.albedo(torch.zeros(1, model.n_albedo)).shape == (1, 3, 256, 256)
    generator = torch.Generator().manual_seed(0)
    skins = model.albedo(torch.randn(50, model.n_albedo, generator=generator))
    assert skins.isfinite().all() and skins.min() >= 0 and skins.max() <= 1
    row, column = place_of(model, "cheek_left")
    red, green, blue = skins[:, :, row, column].mean(-1).T
    assert (red > green).all() and (green > blue).all()
    assert red.min() < 0.45 and red.max() > 0.65  # dark and light people
    other = place_of(model, "cheek_right")
    mirrored = skins[:, :, other[0], other[1]].mean(-1)
    torch.testing.assert_close(mirrored, torch.stack([red, green, blue], -1), atol=0.01, rtol=0)


def place_of(model: OpenHead, region: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Row and column of the texels at the vertices of a region."""
    corners = torch.isin(model.faces, model.regions[region]).all(1)
    uv = model.uv[model.uv_faces[corners].unique()]
    return ((1 - uv[:, 1]) * 256).long(), (uv[:, 0] * 256).long()


def test_components_are_found_despite_holes_and_outliers():
    generator = np.random.default_rng(0)
    n, texels, count = 200, 150, 3
    basis = generator.normal(0, [[[0.2]], [[0.1]], [[0.05]]], (count, texels, 3))
    coefficients = generator.normal(size=(n, count))
    clean = 0.5 + np.tensordot(coefficients, basis, 1)
    samples = clean + generator.normal(0, 0.01, clean.shape)
    trust = (generator.random((n, texels)) < 0.6).astype(np.float32)
    hit = generator.random((n, texels)) < 0.05
    samples[hit] = 3.0
    samples[trust == 0] = 1e4  # what is missing must not be read
    weights = np.full(n, 1 / n, np.float32)
    samples, guess = samples.astype(np.float32), coefficients[:, :1].astype(np.float32)
    found = robust_pca(samples, trust, weights, guess, count, rounds=10, correlation=1)
    again = found.mean + np.tensordot(found.coefficients, found.basis, 1)
    assert np.sqrt(((again - clean) ** 2).mean()) < 0.02
    assert found.trust[hit & (trust > 0)].max() < 0.2 and found.trust[~hit & (trust > 0)].mean() > 0.7
    np.testing.assert_allclose(weights @ found.coefficients**2, 1, atol=0.05)
    power = (found.basis**2).sum((1, 2))
    assert (np.diff(power) <= 0).all()


def test_what_varies_more_than_light_may_is_skin_tone():
    generator = np.random.default_rng(1)
    tones = np.exp(generator.normal(-1, 0.5, (500, 1)) + generator.normal(0, 0.05, (500, 3)))
    found, shading = split(tones * AMBIENT, np.ones(500))
    np.testing.assert_allclose(found * shading, tones * AMBIENT, rtol=1e-6)
    dark = tones.mean(1) < np.median(tones)
    assert shading[dark].mean() / shading[~dark].mean() == pytest.approx(1, abs=0.05)
    assert found[~dark].mean() / found[dark].mean() > 0.9 * tones[~dark].mean() / tones[dark].mean()


def test_membrane_continues_a_harmonic_function():
    y, x = np.mgrid[0:40, 0:40].astype(np.float32)
    values = np.stack([x + 2 * y, x * y], -1)
    domain = np.ones((40, 40), bool)
    known = domain.copy()
    known[10:25, 12:30] = False
    filled = membrane(np.where(known[..., None], values, -9).astype(np.float32), known, domain)
    np.testing.assert_allclose(filled, values, atol=1e-2)


def test_halves_are_put_together_by_trust():
    colour = np.zeros((4, 6, 3), np.float32)
    trust = np.zeros((4, 6), np.float32)
    colour[:, 0], trust[:, 0] = 0.8, 1.0
    colour[:, 5], trust[:, 5] = 0.2, 0.5
    mean, sure = symmetric(colour, trust)
    np.testing.assert_allclose(mean[:, [0, 5]], 0.6, rtol=1e-6)
    assert (sure[:, [0, 5]] == 1).all() and not sure[:, 1:5].any()


def test_uncovered_texels_take_the_nearest_value():
    covered = np.zeros((5, 5), bool)
    covered[2, 2] = True
    values = np.zeros((5, 5, 1), np.float32)
    values[2, 2] = 7
    assert (spread_out(values, covered) == 7).all()
