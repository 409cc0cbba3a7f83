"""The fit against what it should find: derivatives, known parameters, known light."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from instaface.face import Camera, FaceParameters, OpenHead, rotation_from_angles
from instaface.face.light import basis, direction_from_angles, directional
from instaface.track.fit import (
    REST,
    Basis,
    Calibration,
    _linearise,
    _State,
    fit,
    initial_pose,
    interocular,
    landmark_basis,
    predicted,
    reduced_basis,
    rotation,
)
from instaface.track.light import AMBIENT, solve

CAMERA = Camera.for_photo(640, 480)


@pytest.fixture(scope="module")
def model() -> OpenHead:
    return OpenHead.load()


@pytest.fixture(scope="module")
def plain(model: OpenHead) -> Basis:
    """Landmarks as the model has them, not as they are found in photos."""
    return reduced_basis(model, Calibration.none(model))


def face(model: OpenHead, seed: int, **weights: float) -> FaceParameters:
    """A random person with an expression, in front of ``CAMERA``."""
    rng = np.random.default_rng(seed)
    expression = torch.zeros(1, len(model.expression_names))
    for name, weight in weights.items():
        expression[0, model.expression_names.index(name)] = weight
    return model.neutral().replace(
        identity=torch.from_numpy(rng.normal(0, 0.7, (1, model.n_identity))).float(),
        expression=expression,
        head=torch.from_numpy(rng.uniform(-18, 18, (1, 3))).float(),
        translation=torch.tensor([[rng.uniform(-5, 5), -3.0, -60.0]]),
    )


def landmarks(model: OpenHead, parameters: FaceParameters) -> np.ndarray:
    points = model.landmarks(model.vertices(parameters), "mediapipe")
    return CAMERA.project(points)[0, :, :2].double().numpy()


@pytest.mark.parametrize("name", REST)
def test_weights_count_from_faces_at_rest(model: OpenHead, name: str) -> None:
    calibration = Calibration.load(model)
    bases = [reduced_basis(model, calibration), reduced_basis(model, calibration.from_rest(model))]
    points = predicted(bases[0], face(model, 1, **{name: 0.4}), CAMERA)
    index = model.expression_names.index(name)
    before, after = (fit(basis, points, CAMERA).expression[index] for basis in bases)
    assert after - before == pytest.approx(-REST[name], abs=0.04)


def test_rotation_is_the_convention_of_the_face_room() -> None:
    angles = np.array([20.0, -10.0, 5.0])
    expected = rotation_from_angles(torch.from_numpy(angles)).numpy()
    assert np.allclose(rotation(np.deg2rad(angles))[0], expected)


def test_derivatives_agree_with_differences(model: OpenHead, plain: Basis) -> None:
    b = plain
    state = _State(b, np.array([0.2, -0.1, 0.05]), np.array([1.0, -3.0, -60.0]))
    rng = np.random.default_rng(0)
    state = state.moved(rng.uniform(0.05, 0.1, 10 + len(b.modes) + len(b.expression)))
    _, jacobian = _linearise(state, CAMERA)
    for unknown in [*range(12), 10 + len(b.modes), jacobian.shape[-1] - 1]:
        step = np.zeros(jacobian.shape[-1])
        step[unknown] = 1e-5
        ahead, behind = (_linearise(state.moved(sign * step), CAMERA)[0] for sign in (1, -1))
        assert np.allclose((ahead - behind) / 2e-5, jacobian[..., unknown], atol=1e-3)


def test_linear_landmarks_are_the_models(model: OpenHead) -> None:
    parameters = face(model, 3, jawOpen=0.4, mouthSmileLeft=0.5, eyeBlinkLeft=0.6)
    b = reduced_basis(model, Calibration.none(model), keep=1.0)
    state = _State(b, np.deg2rad(parameters.head[0].double().numpy()), parameters.translation[0].double().numpy())
    state.modes = b.modes @ parameters.identity[0].double().numpy()
    state.expression = parameters.expression[0].double().numpy()
    projected, _ = _linearise(state, CAMERA)
    assert np.abs(projected - landmarks(model, parameters)).max() < 0.05


def test_initial_pose_is_near(model: OpenHead, plain: Basis) -> None:
    parameters = face(model, 1)
    angles, translation = initial_pose(plain, landmarks(model, parameters), CAMERA)
    assert np.abs(np.rad2deg(angles) - parameters.head[0].numpy()).max() < 8
    assert abs(translation[2] + 60) < 10


@pytest.mark.parametrize(
    "expression",
    [
        {},
        {"jawOpen": 0.6},
        {"eyeBlinkLeft": 0.9, "eyeBlinkRight": 0.9},
        {"mouthSmileLeft": 0.7, "mouthSmileRight": 0.7},
    ],
)
def test_fit_finds_known_parameters(model: OpenHead, plain: Basis, expression: dict[str, float]) -> None:
    parameters = face(model, 5, **expression)
    points = landmarks(model, parameters)
    points = points + np.random.default_rng(0).normal(0, 0.3, points.shape)
    found = fit(plain, points, CAMERA)
    assert found.error < 1
    assert np.abs(found.head - parameters.head[0].numpy()).max() < 2
    assert np.abs(found.expression - parameters.expression[0].numpy()).max() < 0.25
    assert np.abs(found.identity).max() <= 3
    assert found.expression.min() >= 0 and found.expression.max() <= 1


def test_fit_finds_the_gaze(model: OpenHead, plain: Basis) -> None:
    gaze = torch.tensor([[[15.0, -8.0], [15.0, -8.0]]])
    parameters = face(model, 2).replace(gaze=gaze)
    found = fit(plain, landmarks(model, parameters), CAMERA)
    assert np.abs(found.gaze - gaze[0].numpy()).max() < 4


def test_outliers_do_not_move_the_fit(model: OpenHead, plain: Basis) -> None:
    points = landmarks(model, face(model, 4))
    clean = fit(plain, points, CAMERA)
    points[:20] += 60
    assert np.abs(fit(plain, points, CAMERA).head - clean.head).max() < 1.5


def test_half_of_the_landmarks_tells_the_other_half(model: OpenHead, shared_data: Path) -> None:
    from instaface.photo import read_photo
    from instaface.track.detect import detect
    from instaface.track.landmarks import find_landmarks

    errors = []
    half = np.arange(478) % 2 == 0
    for number in range(0, 3600, 180):  # of the validation set
        pixels = read_photo(shared_data / "faces" / f"{number:04d}.jpg").pixels
        found = find_landmarks(pixels, detect(pixels)[0])
        assert found is not None
        points = found.points.astype(np.float64)
        camera = Camera.for_photo(pixels.shape[1], pixels.shape[0])
        projected = fit(landmark_basis(model), points, camera, half.astype(float)).projected
        errors.append(np.linalg.norm(projected - points, axis=1)[~half].mean() / interocular(points))
    assert np.median(errors) < 0.015 and np.percentile(errors, 95) < 0.022


def sphere(count: int = 1500) -> np.ndarray:
    """(N, 3) unit normals that face the camera."""
    normals = np.random.default_rng(0).normal(size=(count, 3))
    normals[:, 2] = np.abs(normals[:, 2]) + 0.3
    return normals / np.linalg.norm(normals, axis=1, keepdims=True)


def test_light_of_a_known_direction_is_found() -> None:
    normals = sphere()
    direction = torch.tensor([[0.6, 0.4, 0.69]])
    light = directional(direction, torch.tensor([0.9]), torch.tensor([0.3]))[0].numpy()
    albedo = np.full((len(normals), 3), [0.5, 0.35, 0.28])
    colours = albedo * (basis(torch.from_numpy(normals)).numpy() @ light)
    colours[:100] *= 0.2  # a cast shadow
    found, coefficients = solve(normals, colours, albedo, np.zeros((0, len(normals), 3)))
    toward = found[1:4].mean(1)
    cosine = toward @ direction[0].numpy() / np.linalg.norm(toward)
    assert np.degrees(np.arccos(cosine)) < 12
    assert len(coefficients) == 0


def test_skin_tone_goes_to_the_albedo_where_the_model_has_one() -> None:
    normals = sphere()
    rng = np.random.default_rng(1)
    mean = np.full((len(normals), 3), [0.45, 0.3, 0.25])
    change = np.stack([np.full_like(mean, 0.08), rng.normal(0, 0.03, mean.shape)])
    shading = basis(torch.from_numpy(normals)).numpy() @ np.eye(9)[:, :1] * 0.8 @ np.ones((1, 3))
    truth = np.array([-1.5, 1.0])
    light, albedo = solve(normals, (mean + np.tensordot(truth, change, 1)) * shading, mean, change)
    assert np.abs(albedo - truth).max() < 0.4
    assert abs((basis(torch.from_numpy(normals)).numpy() @ light).mean() - 0.8) < 0.08


def test_lamps_are_found_whatever_the_skin() -> None:
    normals = sphere()
    rng = np.random.default_rng(2)
    mean = np.full((len(normals), 3), [0.45, 0.3, 0.25])
    change = np.stack([mean / 3, *rng.normal(0, 0.02, (5, *mean.shape))])
    for azimuth, elevation in [(-60, 0), (-30, 40), (0, 20), (20, -20), (60, 30)]:
        toward = direction_from_angles(torch.tensor([float(azimuth)]), torch.tensor([float(elevation)]))[0].numpy()
        shading = 0.3 + 0.7 * np.clip(normals @ toward, 0, None)
        shading *= AMBIENT / shading.mean()
        tones = mean + np.tensordot(rng.normal(0, 1, 6), change, 1)
        light, _ = solve(normals, tones * shading[:, None], mean, change)
        found = light[1:4].mean(1)
        assert np.degrees(np.arccos(found @ toward / np.linalg.norm(found))) < 20
        assert abs(np.log((basis(torch.from_numpy(normals)).numpy() @ light).mean() / AMBIENT)) < 0.08


def lips_read(model: OpenHead, smile: float) -> dict[str, float]:
    """Mean weights by the tracker of rendered people who smile so much, sides averaged."""
    from instaface.face.colour import pixels_from_linear
    from instaface.render import render_maps
    from instaface.track import track

    light = directional(torch.tensor([[0.3, 0.3, 0.9]]), torch.tensor([0.9]), torch.tensor([0.4]))
    weights = []
    for seed in range(6):
        person = face(model, seed, mouthSmileLeft=smile, mouthSmileRight=smile)
        maps = render_maps(model, person.replace(head=person.head * 0.5, light=light), CAMERA)
        mask = maps.mask[..., None]
        (seen,) = track(pixels_from_linear(maps.rendering * mask + 0.3 * (1 - mask)))
        weights.append(seen.parameters.expression[0])
    mean = np.mean(weights, 0)
    return {
        name: float(np.mean([mean[i] for i, full in enumerate(model.expression_names) if full.startswith(name)]))
        for name in ("mouthSmile", "mouthFrown", "mouthPucker")
    }


def test_serious_and_smiling_lips_are_read_as_such(model: OpenHead) -> None:
    rest, smile = lips_read(model, 0.0), lips_read(model, 0.8)
    assert max(rest.values()) < 0.15
    assert 0.65 < smile["mouthSmile"] - rest["mouthSmile"] < 1.0
    assert max(smile["mouthFrown"], smile["mouthPucker"]) < 0.15
