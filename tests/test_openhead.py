"""The embedded face model: what must hold for any photo, and how far it is from the samples it was learned from."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from instaface.face import Camera, OpenHead, angles_from_rotation, rotation_from_angles
from instaface.face.light import shade
from instaface.face.openhead import MAX_GAZE

UPPER_LID, LOWER_LID = {"Left": 386, "Right": 159}, {"Left": 374, "Right": 145}  # middle of the lids, MediaPipe
UPPER_LIP, LOWER_LIP = 13, 14  # inner contour, middle
IRIS_RING = {"Left": 473, "Right": 468}


TOOLS = Path(__file__).parents[1] / "tools"


@pytest.fixture(scope="module")
def model() -> OpenHead:
    return OpenHead.load()


def posed(model: OpenHead, head=(0.0, 0.0, 0.0), gaze=(0.0, 0.0), **weights: float) -> torch.Tensor:
    parameters = model.neutral()
    for name, weight in weights.items():
        parameters.expression[:, model.expression_names.index(name)] = weight
    parameters.head[:] = torch.tensor(head)
    parameters.gaze[:] = torch.tensor(gaze)
    return model.vertices(parameters)


def test_sizes_are_those_promised(model):
    assert len(model.expression_names) == len(set(model.expression_names)) == 52
    assert 6000 <= len(model.mean) <= 10000
    assert model.n_identity >= 80
    assert model.faces.max() == len(model.mean) - 1
    assert len(torch.unique(model.faces)) == len(model.mean)
    assert {"skin", "lips", "brows", "eyelids", "scalp", "ears", "neck", "shoulders", "teeth"} <= set(model.regions)


def test_mesh_and_texture_are_symmetric(model):
    flip = torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(model.symmetry[model.symmetry], torch.arange(len(model.mean)))
    assert (model.mean[model.symmetry] * flip - model.mean).abs().max() < 0.03
    triangles = {tuple(sorted(t)) for t in model.faces.tolist()}
    assert {tuple(sorted(t)) for t in model.symmetry[model.faces].tolist()} == triangles
    corner = {}
    for t, uv in zip(model.faces[model.part_faces["skin"]], model.uv_faces[model.part_faces["skin"]], strict=True):
        for v, c in zip(t.tolist(), uv.tolist(), strict=True):
            corner.setdefault(v, []).append(c)
    for v, own in list(corner.items())[::7]:
        if len(set(own)) == 1:
            u, mirrored = model.uv[own[0]], model.uv[corner[int(model.symmetry[v])][0]]
            torch.testing.assert_close(torch.stack([1 - u[0], u[1]]), mirrored, atol=1e-5, rtol=0)


def test_skin_texture_never_folds(model):
    a, b, c = model.uv[model.uv_faces[model.part_faces["skin"]]].unbind(1)
    area = (b - a)[:, 0] * (c - a)[:, 1] - (c - a)[:, 0] * (b - a)[:, 1]
    assert (area > 0).all()
    assert model.uv.min() >= 0 and model.uv.max() <= 1


def test_landmarks_lie_on_the_parts_they_name(model):
    for scheme, count in (("mediapipe", 478), ("ibug", 68)):
        basis = model.landmark_basis(scheme)
        assert basis.mean.shape == (count, 3)
        assert basis.identity.shape == (model.n_identity, count, 3)
        points = model.landmarks(posed(model), scheme)[0]
        assert points.shape == (count, 3)
    assert (basis.eye == -1).all()
    eye = model.landmark_basis("mediapipe").eye
    assert (eye[468:473] == 1).all() and (eye[473:] == 0).all() and (eye[:468] == -1).all()


def test_landmark_basis_is_the_model_at_the_landmarks(model):
    generator = torch.Generator().manual_seed(0)
    parameters = model.neutral(2)
    parameters.identity[:] = torch.randn(parameters.identity.shape, generator=generator)
    parameters.expression[:] = torch.rand(parameters.expression.shape, generator=generator) * 0.3
    weights, angles = model.effective_expression(parameters)
    basis = model.landmark_basis("mediapipe")
    rest = basis.mean + np.einsum("bi,ilc->blc", parameters.identity, basis.identity)
    rest = rest + np.einsum("be,elc->blc", weights, basis.expression)
    expected = rest - basis.neck_joint + parameters.translation[:, None].numpy()
    got = model.landmarks(model.vertices(parameters), "mediapipe").numpy()
    np.testing.assert_allclose(got[:, :468], expected[:, :468], atol=2e-4)
    assert angles.abs().max() < MAX_GAZE


def test_gradients_reach_every_parameter(model):
    parameters = model.neutral()
    parameters = parameters.map(lambda t: (t + 0.1).requires_grad_())
    model.vertices(parameters).square().sum().backward()
    for name in ("identity", "expression", "head", "body", "translation", "gaze"):
        gradient = getattr(parameters, name).grad
        assert gradient is not None and gradient.abs().max() > 0, name


def test_arrays_and_tensors_give_the_same_numbers(model):
    generator = torch.Generator().manual_seed(3)
    tensors = model.neutral(2).map(lambda t: t + 0.3 * torch.randn(t.shape, generator=generator))
    arrays, plain = tensors.numpy(), OpenHead.load("numpy")
    one, other = model.mesh(tensors), plain.mesh(arrays)
    pairs = [
        (one.vertices, other.vertices),
        (one.normals(), other.normals()),
        (model.landmarks(one.vertices, "mediapipe"), plain.landmarks(other.vertices, "mediapipe")),
        (model.albedo(tensors.albedo), plain.albedo(arrays.albedo)),
        (shade(one.normals(), tensors.light), shade(other.normals(), arrays.light)),
        (angles_from_rotation(rotation_from_angles(tensors.head)), arrays.head),
        (Camera.for_photo(9, 9).project(one.vertices), Camera.for_photo(9, 9).project(other.vertices)),
    ]
    for tensor, array in pairs:
        assert isinstance(tensor, torch.Tensor) and isinstance(array, np.ndarray) and array.dtype == np.float32
        np.testing.assert_allclose(tensor.numpy(), array, atol=1e-3)


def test_parameters_are_all_arrays_or_all_tensors():
    arrays = OpenHead.load("numpy").neutral()
    assert all(isinstance(value, np.ndarray) for value in vars(arrays).values())
    mixed = arrays.replace(head=torch.ones(1, 3))
    assert all(isinstance(value, torch.Tensor) for value in vars(mixed).values())
    assert all(isinstance(value, np.ndarray) for value in vars(mixed.numpy()).values())


def test_turning_the_head_leaves_the_shoulders(model):
    rest, turned = posed(model), posed(model, head=(30.0, 15.0, 5.0))
    moved = (turned - rest).norm(dim=-1)[0]
    assert moved[model.regions["shoulders"]].max() < 0.1
    assert moved[model.regions["nose"]].min() > 5
    rigid = torch.nonzero(model.head_weight == 1)[::100, 0]
    between = [(v[0, rigid, None] - v[0, rigid]).norm(dim=-1) for v in (rest, turned)]
    torch.testing.assert_close(between[0], between[1], atol=1e-3, rtol=0)
    assert turned[0, model.regions["nose"], 0].mean() > rest[0, model.regions["nose"], 0].mean()


def test_weights_are_one_on_the_head_and_zero_on_the_shoulders(model):
    assert model.head_weight.min() == 0 and model.head_weight.max() == 1
    for name in ("lips", "nose", "eyes", "brows", "ears", "teeth", "tongue", "mouth", "forehead"):
        assert (model.head_weight[model.regions[name]] == 1).all(), name
    assert model.head_weight[model.regions["shoulders"]].max() < 0.02


def test_left_is_the_subjects_left(model):
    for name in ("ear", "eyeball", "iris", "brow", "cheek"):
        assert model.mean[model.regions[f"{name}_left"], 0].min() > 0
        assert model.mean[model.regions[f"{name}_right"], 0].max() < 0


def test_upper_landmarks_lie_above_lower_ones(model):
    points = model.landmarks(posed(model), "mediapipe")[0]
    upper = [191, 80, 81, 82, 13, 312, 311, 310, 415, 160, 159, 158, 387, 386, 385]
    lower = [95, 88, 178, 87, 14, 317, 402, 318, 324, 144, 145, 153, 373, 374, 380]
    assert (points[upper, 1] > points[lower, 1]).all()


def test_eyeballs_turn_about_their_centres(model):
    parameters = model.neutral(8)
    parameters.identity[:] = torch.randn(parameters.identity.shape, generator=torch.Generator().manual_seed(2))
    parameters.translation[:] = model.neck_joint
    vertices = model.vertices(parameters)
    centres = model.eye_centre + torch.einsum("bi,iec->bec", parameters.identity, model.eye_centre_identity)
    for eye, side in enumerate(("left", "right")):
        radius = (vertices[:, model.regions[f"eyeball_{side}"]] - centres[:, eye, None]).norm(dim=-1)
        assert (radius.std(1) / radius.mean(1)).max() < 0.06


@pytest.mark.parametrize("side", ["Left", "Right"])
def test_gaze_turns_both_irises_where_asked(model, side):
    centre = IRIS_RING[side]
    rest = model.landmarks(posed(model), "mediapipe")[0, centre]
    right_edge = model.landmarks(posed(model, gaze=(20.0, 0.0)), "mediapipe")[0, centre]
    up = model.landmarks(posed(model, gaze=(0.0, 20.0)), "mediapipe")[0, centre]
    assert right_edge[0] - rest[0] > 0.3 and abs(right_edge[1] - rest[1]) < 0.1
    assert up[1] - rest[1] > 0.3 and abs(up[0] - rest[0]) < 0.1


def test_look_weights_are_gaze(model):
    by_weight = posed(model, eyeLookOutLeft=0.5, eyeLookInRight=0.5)
    torch.testing.assert_close(by_weight, posed(model, gaze=(0.5 * MAX_GAZE, 0.0)))


def lid_gap(model: OpenHead, vertices: torch.Tensor, side: str) -> torch.Tensor:
    """(B,) centimetres between the middles of the lids."""
    points = model.landmarks(vertices, "mediapipe")
    return points[:, UPPER_LID[side], 1] - points[:, LOWER_LID[side], 1]


@pytest.mark.parametrize(("side", "other"), [("Left", "Right"), ("Right", "Left")])
def test_blink_closes_its_own_eye(model, side, other):
    rest, closed = posed(model), posed(model, **{f"eyeBlink{side}": 1.0})
    assert lid_gap(model, rest, side) > 0.6
    assert -0.1 < lid_gap(model, closed, side) < 0.0
    torch.testing.assert_close(lid_gap(model, closed, other), lid_gap(model, rest, other), rtol=0.05, atol=0)


def test_blink_closes_wide_and_narrow_eyes_alike(model):
    parameters = model.neutral(20)
    parameters.identity[:] = torch.randn(parameters.identity.shape, generator=torch.Generator().manual_seed(1))
    rest = lid_gap(model, model.vertices(parameters), "Left")
    parameters.expression[:, model.expression_names.index("eyeBlinkLeft")] = 1.0
    closed = lid_gap(model, model.vertices(parameters), "Left")
    assert rest.max() - rest.min() > 0.3
    assert closed.min() > -0.1 and closed.max() < 0.0


def test_jaw_open_lowers_the_lower_lip_only(model):
    rest = model.landmarks(posed(model), "mediapipe")[0]
    opened = model.landmarks(posed(model, jawOpen=1.0), "mediapipe")[0]
    drop = rest[:, 1] - opened[:, 1]
    assert drop[LOWER_LIP] > 2.0
    assert drop[UPPER_LIP].abs() < 0.3
    assert drop[[10, 33, 263, 1]].abs().max() < 0.1  # forehead, eye corners, nose


def test_smiles_lift_the_corner_of_their_side(model):
    rest = model.landmarks(posed(model), "ibug")[0]
    smile = model.landmarks(posed(model, mouthSmileLeft=1.0), "ibug")[0]
    left, right = 54, 48
    assert smile[left, 1] - rest[left, 1] > 0.4 and smile[left, 0] - rest[left, 0] > 0.1
    assert (smile[right] - rest[right]).norm() < 0.2


def test_albedo_is_a_texture(model):
    texture = model.albedo(torch.zeros(2, model.n_albedo))
    assert texture.shape[:2] == (2, 3) and texture.shape[2] == texture.shape[3]
    assert texture.min() >= 0 and texture.max() <= 1


def test_unknown_scheme_is_refused(model):
    with pytest.raises(ValueError, match="no landmark scheme 'dlib'"):
        model.landmarks(posed(model), "dlib")


@pytest.mark.parametrize(("count", "seed"), [(12, 7), pytest.param(200, 8, marks=pytest.mark.slow)])
def test_fresh_samples_of_the_source_are_met(model, shared_data, monkeypatch, count, seed):
    monkeypatch.syspath_prepend(str(TOOLS))
    measure = pytest.importorskip("openhead.measure")
    source = pytest.importorskip("openhead.source").load_source(shared_data / "ict_facekit.npz")
    errors = measure.fresh_errors(source, model, count=count, seed=seed)
    assert errors.face.mean() <= 0.35 and np.percentile(errors.face, 99) <= 1.0
    assert errors.lids.max() <= 0.3 and errors.lips.max() <= 0.3


@pytest.mark.slow
def test_building_again_gives_the_same_bytes(shared_data, tmp_path):
    outputs = [tmp_path / "first.npz", tmp_path / "second.npz"]
    for output in outputs:
        source = str(shared_data / "ict_facekit.npz")
        command = [sys.executable, "build_openhead.py", "--source", source, "--output", str(output), "--renders", "4"]
        subprocess.run(command, cwd=TOOLS, check=True, capture_output=True)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()
    assert outputs[0].stat().st_size <= 8e6
