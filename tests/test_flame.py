"""FLAME and DECA's numbers, against plain NumPy written from the publications."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import flame_files as files
from instaface import assets
from instaface.errors import InstaFaceError
from instaface.face import FaceParameters, rotation_from_angles
from instaface.face.deca import (
    CROP,
    SH_CONSTANTS,
    DecaCodes,
    DecaCrop,
    display_light,
    linear_light,
    project,
    to_parameters,
)
from instaface.face.flame import FLAME, contour_row, rotation_from_vector
from instaface.face.light import shade


@pytest.fixture(scope="module")
def flame(tmp_path_factory):
    """FLAME as a user has it: files added, then loaded."""
    folder = tmp_path_factory.mktemp("flame")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSTAFACE_HOME", str(folder / "home"))
        assets.add(files.write_flame(folder / "generic_model.pkl"))
        with pytest.raises(InstaFaceError, match=r"head_template.obj"):
            FLAME.load()
        assets.add(files.write_template(folder / "head_template.obj"))
        assets.add(files.write_landmarks(folder / "landmark_embedding.npy"))
        assets.add(files.write_mediapipe(folder / "mediapipe.npz"))
        assets.add(files.write_texture(folder / "texture.npz", bfm=True))
        return FLAME.load()


def draw(seed=0, batch=2):
    rng = np.random.default_rng(seed)
    shape, exp = rng.normal(size=(batch, 100)), rng.normal(size=(batch, 50))
    pose = rng.normal(size=(batch, 15)) * 0.3
    return shape, exp, pose


def reference(model, shape, exp, pose):
    """Steps 1-6 of FLAME's forward pass for one face, with homogeneous matrices; (5023, 3) metres and the joints."""
    b = np.zeros(400)
    b[:100], b[300:350] = shape, exp
    v1 = model["v_template"] + model["shapedirs"] @ b
    joints = model["J_regressor"] @ v1
    rotations = [Rotation.from_rotvec(pose[3 * k : 3 * k + 3]).as_matrix() for k in range(5)]
    p = np.concatenate([(r - np.eye(3)).ravel() for r in rotations[1:]])
    v2 = v1 + model["posedirs"] @ p
    parents = [-1, 0, 1, 1, 1]
    world = []
    for j in range(5):
        local = np.eye(4)
        local[:3, :3] = rotations[j]
        local[:3, 3] = joints[j] - (joints[parents[j]] if j else 0)
        world.append(world[parents[j]] @ local if j else local)
    v = np.zeros((5023, 3))
    for j in range(5):
        a = world[j].copy()
        a[:3, 3] -= a[:3, :3] @ joints[j]
        v += model["weights"][:, j : j + 1] * (v2 @ a[:3, :3].T + a[:3, 3])
    return v, np.stack([g[:3, 3] for g in world])


def rotations_of(pose):
    return rotation_from_vector(torch.from_numpy(pose).float().view(-1, 5, 3))


def test_forward_agrees_with_the_reference(flame):
    shape, exp, pose = draw(batch=3)
    pose[0] = 0
    vertices, joints = flame.pose(torch.from_numpy(shape).float(), torch.from_numpy(exp).float(), rotations_of(pose))
    assert vertices.dtype == torch.float32
    for k in range(3):
        expected, places = reference(files.flame(), shape[k], exp[k], pose[k])
        np.testing.assert_allclose(vertices[k].numpy(), expected, atol=1e-5)
        np.testing.assert_allclose(joints[k].numpy(), places, atol=1e-5)


def test_parameters_pose_flame_about_the_neck_joint(flame):
    neutral = flame.neutral(2)
    parameters = neutral.replace(
        identity=torch.randn(2, 100, generator=torch.Generator().manual_seed(0)),
        head=torch.tensor([[20.0, -10.0, 5.0], [-30.0, 15.0, 0.0]]),
        body=torch.tensor([[5.0, 2.0, 1.0], [0.0, 0.0, 0.0]]),
        gaze=torch.tensor([[[10.0, 5.0], [12.0, 5.0]], [[0.0, 0.0], [0.0, 0.0]]]),
        jaw=torch.tensor([[15.0, 2.0, 1.0], [0.0, 0.0, 0.0]]),
    )
    vertices = flame.vertices(parameters)
    for k in range(2):
        matrix = [rotation_from_angles(parameters.body[k]), rotation_from_angles(parameters.head[k])]
        local = [matrix[0], matrix[0].T @ matrix[1], Rotation.from_rotvec(np.deg2rad(parameters.jaw[k])).as_matrix()]
        local += [rotation_from_angles(torch.cat([eye, torch.zeros(1)])) for eye in parameters.gaze[k]]
        pose = np.concatenate([Rotation.from_matrix(np.asarray(m)).as_rotvec() for m in local])
        expected, joints = reference(files.flame(), parameters.identity[k].numpy(), np.zeros(50), pose)
        expected = 100 * (expected - joints[1]) + parameters.translation[k].numpy()
        np.testing.assert_allclose(vertices[k].numpy(), expected, atol=1e-3)  # centimetres


def test_a_copy_on_a_device_poses_the_same_face(flame):
    there = flame.to("meta")
    assert there.vertices(there.neutral().to("meta")).shape == (1, 5023, 3)
    torch.testing.assert_close(flame.to("cpu").vertices(flame.neutral()), flame.vertices(flame.neutral()))


def test_signs_of_head_jaw_and_gaze(flame):
    neutral = flame.neutral()
    rest = flame.vertices(neutral)[0]

    def change(name, value):
        return flame.vertices(neutral.replace(**{name: torch.tensor([value])}))[0] - rest

    nose = int(rest[:3931, 2].argmax())
    assert change("head", [20.0, 0.0, 0.0])[nose, 0] > 1  # right edge of the picture
    assert change("head", [0.0, 20.0, 0.0])[nose, 1] > 1  # up
    top = int(rest[:, 1].argmax())
    assert change("head", [0.0, 0.0, 20.0])[top, 0] > 1  # clockwise
    chin = int(torch.argmax(flame.skinning[:, 2] * (rest[:, 2] - rest[:, 2].min())))
    assert change("jaw", [15.0, 0.0, 0.0])[chin, 1] < -0.1  # opens
    pupil = int(3931 + rest[3931:4477, 2].argmax())
    assert change("gaze", [[20.0, 0.0], [0.0, 0.0]])[pupil, 0] > 0.2
    assert change("gaze", [[0.0, 20.0], [0.0, 0.0]])[pupil, 1] > 0.2
    shoulders = flame.head_weight == 0
    assert shoulders.any() and float(change("head", [0.0, 0.0, 90.0])[shoulders].abs().max()) < 0.6  # correctives alone


def test_gradients_flow_also_at_rest(flame):
    parameters = FaceParameters(**{k: v.clone().requires_grad_() for k, v in vars(flame.neutral()).items()})
    flame.vertices(parameters)[0, :, 1].square().sum().backward()
    for name in ("identity", "expression", "head", "body", "gaze", "jaw", "translation"):
        gradient = getattr(parameters, name).grad
        assert torch.isfinite(gradient).all() and gradient.abs().sum() > 0, name


def test_landmarks_are_the_files_points(flame):
    expected = files.landmarks()
    vertices = flame.vertices(flame.neutral())
    faces = files.flame()["f"].astype(int)
    for scheme, key, count in (("ibug", "full", 68), ("static", "static", 51)):
        index = np.asarray(expected[f"{key}_lmk_faces_idx"]).reshape(-1)
        bary = np.asarray(expected[f"{key}_lmk_bary_coords"]).reshape(-1, 3)
        points = (vertices[0].numpy()[faces[index]] * bary[..., None]).sum(1)
        assert len(points) == count
        np.testing.assert_allclose(flame.landmarks(vertices, scheme)[0].numpy(), points, atol=1e-4)
    assert flame.landmarks(vertices, "mediapipe-105").shape == (1, 105, 3)
    assert flame.mediapipe_indices.shape == (105,)
    with pytest.raises(ValueError, match="no landmark scheme 'dlib'"):
        flame.landmarks(vertices, "dlib")


@pytest.mark.parametrize(
    ("yaw", "row"), [(0, 0), (12.4, 12), (39, 39), (70, 39), (-1, 40), (-12.4, 51), (-39, 78), (-60, 78)]
)
def test_the_contour_follows_the_yaw(flame, yaw, row):
    rotation = rotation_from_angles(torch.tensor([[float(yaw), 8.0, -4.0]]))
    # Pitch and roll come after yaw in R = yaw pitch roll, so the first column shows the yaw alone without roll.
    plain = rotation_from_angles(torch.tensor([[float(yaw), 0.0, 0.0]]))
    assert contour_row(plain).tolist() == [row]
    vertices = flame.vertices(flame.neutral())
    seen = flame.landmarks_as_seen(vertices, plain)
    assert seen.shape == (1, 68, 3)
    expected = files.landmarks()
    corners = files.flame()["f"].astype(int)[expected["dynamic_lmk_faces_idx"][row].numpy()]
    bary = expected["dynamic_lmk_bary_coords"][row].numpy()
    points = (vertices[0].numpy()[corners] * bary[..., None]).sum(1)
    np.testing.assert_allclose(seen[0, :17].numpy(), points, atol=1e-4)
    torch.testing.assert_close(seen[:, 17:], flame.landmarks(vertices, "static"))
    assert 0 <= int(contour_row(rotation)) < 79


def test_textures(flame):
    codes = torch.zeros(2, 50)
    codes[1, 3] = 2.0
    texture = flame.texture(codes)
    assert flame.texture_space == "bfm" and texture.shape == (2, 3, 256, 256)
    torch.testing.assert_close(texture[1] - texture[0], 2 * flame._texture_basis[3], atol=1e-6, rtol=0)
    torch.testing.assert_close(flame.albedo(codes), texture.clamp(0, 1) ** 2.2)


# --- DECA ---


def random_codes(seed=0, **changes):
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(1, 236, generator=generator)
    outputs[:, 200:206] *= 0.2
    outputs[:, 206:209] = torch.tensor([8.0, 0.01, 0.02])
    outputs[:, 209:] = 0.1 * outputs[:, 209:]
    outputs[:, 209:212] += 3.0
    codes = DecaCodes.split(outputs)
    return DecaCodes(**{**vars(codes), **changes})


def test_outputs_split_as_deca_does():
    codes = DecaCodes.split(torch.arange(236.0)[None])
    assert codes.tex[0, 0] == 100 and codes.exp[0, 0] == 150 and codes.pose[0, 0] == 200 and codes.cam[0, 0] == 206
    assert codes.light[0, 0].tolist() == [209, 210, 211] and codes.light.shape == (1, 9, 3)
    with pytest.raises(ValueError, match="236"):
        DecaCodes.split(torch.zeros(1, 235))


@pytest.mark.parametrize(("center", "side"), [((256.0, 250.0), 310), ((3800.0, 200.5), 95)])
def test_our_camera_sees_what_decas_camera_sees(flame, center, side):
    codes = random_codes()
    crop = DecaCrop(center, side)
    pose = np.zeros(15)
    pose[:3], pose[6:9] = codes.pose[0, :3], codes.pose[0, 3:]
    expected, _ = reference(files.flame(), codes.shape[0].numpy(), codes.exp[0].numpy(), pose)
    # DECA: scale and shift in metres, y down, then -1..1 of the crop to pixels of the photo.
    s, tx, ty = codes.cam[0].tolist()
    xy = np.stack([s * (expected[:, 0] + tx), -s * (expected[:, 1] + ty)], -1)
    pixels = np.array(center) - side / 2 + (xy + 1) * 112 * side / 223
    ours = project(torch.from_numpy(expected)[None].float(), codes.cam)
    np.testing.assert_allclose(ours[0, :, :2].numpy(), xy, atol=1e-5)
    np.testing.assert_allclose(ours[0, :, 2].numpy(), -s * expected[:, 2], atol=1e-5)
    parameters, camera = to_parameters(codes, flame, crop, 4000, 3000)
    seen = camera.project(flame.vertices(parameters))[0].numpy()
    assert np.abs(seen[:, :2] - pixels).max() < 0.002 * side
    depth = np.argsort(seen[:, 2])
    assert np.all(np.diff(-expected[depth, 2]) > -1e-4)  # the same order of depth
    torch.testing.assert_close(parameters.head, parameters.body)
    torch.testing.assert_close(
        rotation_from_angles(parameters.head), rotation_from_vector(codes.pose[:, :3]), atol=1e-5, rtol=0
    )


def test_the_crop_is_decas():
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (300, 400, 3), dtype=np.uint8)
    points = np.array([[100, 80], [250, 260]], np.float32)
    crop = DecaCrop.around(points)
    assert crop == DecaCrop((175.0, 170.0), int(1.375 * (150 + 180) / 2))
    from skimage.transform import estimate_transform, warp

    cx, cy, s = *crop.center, crop.side
    source = np.array([[cx - s / 2, cy - s / 2], [cx - s / 2, cy + s / 2], [cx + s / 2, cy - s / 2]])
    target = np.array([[0, 0], [0, CROP - 1], [CROP - 1, 0]])
    transform = estimate_transform("similarity", source, target)
    for current in (crop, DecaCrop((10.0, 290.0), 120)):
        cx, cy, s = *current.center, current.side
        source = np.array([[cx - s / 2, cy - s / 2], [cx - s / 2, cy + s / 2], [cx + s / 2, cy - s / 2]])
        transform = estimate_transform("similarity", source, target)
        expected = warp(photo / 255.0, transform.inverse, output_shape=(CROP, CROP)).transpose(2, 0, 1)
        np.testing.assert_allclose(current.pixels(photo), expected, atol=1e-4)


def normals(n=400, front=True):
    rng = np.random.default_rng(1)
    directions = rng.normal(size=(n, 3))
    if front:
        directions[:, 2] = np.abs(directions[:, 2])
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def deca_shading(light, n):
    x, y, z = n.T
    basis = np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x**2 - y**2, 3 * z**2 - 1], -1)
    return (basis * SH_CONSTANTS) @ light


def test_light_converts_one_to_one():
    codes = torch.cat([random_codes(seed).light for seed in range(6)])
    codes[0, 1:] = 0  # ambient alone
    codes[1, 2] = 2.5  # strongly from above: negative shading below
    back = display_light(linear_light(codes))
    torch.testing.assert_close(back, codes, atol=2e-4, rtol=1e-4)


def test_converted_light_shades_as_decas_does():
    n = normals()
    for seed in range(4):
        light = random_codes(seed).light
        expected = np.maximum(deca_shading(light[0].double().numpy(), n), 0) ** 2.2
        ours = shade(torch.from_numpy(n)[None], linear_light(light).double())[0].numpy()
        assert np.abs(ours - expected).max() < 0.05 * expected.mean()
