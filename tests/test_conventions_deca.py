"""Maps as DiffusionRig, CapHuman and Arc2Face feed them, against a plain renderer written from DECA's description."""

from typing import get_args

import numpy as np
import pytest
import torch

import flame_files as files
from instaface import assets
from instaface.diffusion.conditions import Canvas, conditions
from instaface.diffusion.config import ModelConfig
from instaface.draft import Draft
from instaface.errors import InstaFaceError
from instaface.face import OpenHead, angles_from_rotation
from instaface.face.deca import SH_CONSTANTS, DecaCodes, DecaCrop, to_parameters
from instaface.face.flame import FLAME, rotation_from_vector
from instaface.photo import Photo
from instaface.render.conventions import CONVENTIONS, network_maps, recentred
from instaface.track import Frame, Matte, TrackedFace

SIZE = 96


@pytest.fixture(scope="module")
def flame(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conventions")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSTAFACE_HOME", str(folder))
        files.add_head_like(folder)
        assets.add(files.write_texture(folder / "FLAME_texture.npz", bfm=False))
        return FLAME.load(texture="flame")


@pytest.fixture(scope="module")
def scene(flame):
    """Codes, and the same face in our terms, in a crop that spans the whole picture."""
    outputs = torch.zeros(1, 236)
    generator = torch.Generator().manual_seed(2)
    outputs[:, :150] = 0.3 * torch.randn(1, 150, generator=generator)
    outputs[:, 200:206] = torch.tensor([0.1, -0.4, 0.1, 0.05, 0.0, 0.0])
    outputs[:, 206:209] = torch.tensor([7.0, 0.0, 0.02])
    outputs[:, 209:] = 0.2 * torch.randn(1, 27, generator=generator)
    outputs[:, 209:212] += 3
    codes = DecaCodes.split(outputs)
    # Side and centre for which DECA's -1..1 is the picture from edge to edge.
    side = SIZE * 223 // 224
    crop = DecaCrop((side / 2, side / 2), side)
    parameters, camera = to_parameters(codes, flame, crop, SIZE, SIZE)
    return codes, crop, parameters, camera


def reference(flame, codes, crop):
    """(H, W, 3) normals, albedo, rendering; (H, W) triangle seen and how near pixels are to its edge."""
    pose = torch.zeros(1, 5, 3)
    pose[:, 0], pose[:, 2] = codes.pose[:, :3], codes.pose[:, 3:]
    v, _ = flame.pose(codes.shape, codes.exp, rotation_from_vector(pose))
    v = v[0].double().numpy()
    faces = flame.faces.numpy()
    a, b, c = (v[faces[:, k]] for k in range(3))
    normal = np.zeros_like(v)
    for k in range(3):
        np.add.at(normal, faces[:, k], np.cross(b - a, c - a))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True).clip(1e-9)
    s, tx, ty = codes.cam[0].double().numpy()
    xy = np.stack([s * (v[:, 0] + tx), -s * (v[:, 1] + ty)], 1)
    scale = 112 * crop.side / 223
    pixels, z = np.array(crop.center) - crop.side / 2 + (xy + 1) * scale, -s * v[:, 2]
    best = np.full((SIZE, SIZE), np.inf)
    seen = np.full((SIZE, SIZE), -1)
    bary = np.zeros((SIZE, SIZE, 3))
    for f, corners in enumerate(faces):
        p = pixels[corners]
        (x0, y0), (x1, y1) = np.floor(p.min(0)).astype(int), np.ceil(p.max(0)).astype(int)
        (x0, y0), (x1, y1) = np.clip([(x0, y0), (x1, y1)], 0, SIZE)
        ys, xs = np.mgrid[y0:y1, x0:x1]
        matrix = np.concatenate([p.T, np.ones((1, 3))])
        if not xs.size or abs(np.linalg.det(matrix)) < 1e-12:
            continue
        w = np.linalg.solve(matrix, np.stack([xs.ravel() + 0.5, ys.ravel() + 0.5, np.ones(xs.size)])).T
        depth = w @ z[corners]
        hit = (w.min(1) >= 0) & (depth < best[ys.ravel(), xs.ravel()])
        at = ys.ravel()[hit], xs.ravel()[hit]
        best[at], seen[at], bary[at] = depth[hit], f, w[hit]
    inside = (seen >= 0)[..., None]
    n = (normal[faces[seen]] * bary[..., None]).sum(2) * inside
    uv = (flame.uv.numpy()[flame.uv_faces.numpy()[seen]] * bary[..., None]).sum(2)
    texture = (flame._texture_mean + torch.einsum("k,kcyx->cyx", codes.tex[0], flame._texture_basis)).double().numpy()
    size = texture.shape[-1]
    x, y = uv[..., 0] * size - 0.5, (1 - uv[..., 1]) * size - 0.5
    i, j = np.floor(x).astype(int), np.floor(y).astype(int)
    albedo = np.zeros_like(n)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (1 - abs(x - i - dx)) * (1 - abs(y - j - dy))
            index = (j + dy).clip(0, size - 1), (i + dx).clip(0, size - 1)
            valid = (j + dy >= 0) & (j + dy < size) & (i + dx >= 0) & (i + dx < size)
            albedo += (texture[:, index[0], index[1]] * weight * valid).transpose(1, 2, 0)
    albedo *= inside
    x, y, z = n[..., 0], n[..., 1], n[..., 2]
    basis = np.stack([np.ones_like(x), x, y, z, x * y, x * z, y * z, x**2 - y**2, 3 * z**2 - 1], -1) * SH_CONSTANTS
    rendering = albedo * (basis @ codes.light[0].double().numpy())
    return n, albedo, rendering, seen, bary.min(-1)


def test_diffusionrigs_maps_are_met(flame, scene):
    codes, crop, parameters, camera = scene
    maps = network_maps("diffusionrig", flame, parameters, camera)
    *expected, seen, edge = reference(flame, codes, crop)
    covered = maps["normals"].abs().sum(0).numpy() > 0
    assert (covered == (seen >= 0)).mean() > 0.998  # a pixel of the silhouette may fall to either side
    sure = covered & (seen >= 0) & (edge > 0.05)  # away from the edges of triangles
    assert sure.sum() > 1000
    for name, values in zip(("normals", "albedo", "rendering"), expected, strict=True):
        ours = maps[name].movedim(0, -1).numpy()
        assert ours.dtype == np.float32 and ours.shape == (SIZE, SIZE, 3)
        error = np.abs(ours - values)[sure]
        assert np.quantile(error, 0.99) < 0.02 and error.mean() < 3e-3, name
        assert np.all(ours[~covered] == 0)
    norms = np.linalg.norm(expected[0][sure], axis=-1)
    ours = np.linalg.norm(maps["normals"].movedim(0, -1).numpy()[sure], axis=-1)
    assert norms.min() < 0.995 and np.abs(ours - norms).mean() < 1e-3  # interpolated normals stay shorter than 1


def test_channels_come_in_the_networks_order(flame, scene):
    *_, parameters, camera = scene
    rig = network_maps("diffusionrig", flame, parameters, camera)
    cap = network_maps("caphuman", flame, parameters, camera)
    assert list(rig) == ["rendering", "normals", "albedo"] and list(cap) == ["normals", "albedo", "rendering"]
    torch.testing.assert_close(torch.cat(list(cap.values())), torch.cat([cap[n] for n in cap]))
    for name, values in cap.items():
        torch.testing.assert_close(rig[name], values)
    assert float(cap["normals"].min()) < -0.3 and float(cap["normals"].abs().max()) <= 1.001  # raw, not 0..1


def test_diffusionrig_keeps_an_edited_face_where_it_was(flame, scene):
    codes, *_, parameters, camera = scene
    angles = torch.tensor([[0.05, 0.5, -0.1]])
    edited = parameters.replace(head=angles_from_rotation(rotation_from_vector(angles)))
    edited = edited.replace(body=edited.head)

    def center(pose):
        """In DECA's own space, metres: one tenth from the eyes to the corners of the mouth."""
        rotations = torch.zeros(1, 5, 3)
        rotations[:, 0], rotations[:, 2] = pose, codes.pose[:, 3:]
        v, _ = flame.pose(codes.shape, codes.exp, rotation_from_vector(rotations))
        points = flame.landmarks_as_seen(v, rotation_from_vector(pose))[0]
        eyes, mouth = points[36:48].mean(0), points[[48, 54]].mean(0)
        return v[0], 0.9 * eyes + 0.1 * mouth

    (_, before), (v, after) = center(codes.pose[:, :3]), center(angles)
    s, tx, ty = codes.cam[0].tolist()
    v = v + before - after
    xy = torch.stack([s * (v[:, 0] + tx), -s * (v[:, 1] + ty)], 1)
    scale = 112 * scene[1].side / 223
    expected = torch.tensor(scene[1].center) - scene[1].side / 2 + (xy + 1) * scale
    seen = camera.project(flame.vertices(recentred(flame, edited, parameters)))[0, :, :2]
    assert (seen - expected).abs().max() < 0.01 * SIZE / 2
    still = recentred(flame, parameters, parameters)
    torch.testing.assert_close(still.translation, parameters.translation)


def test_arc2faces_normals(flame, scene):
    *_, parameters, camera = scene
    normals = network_maps("diffusionrig", flame, parameters, camera)["normals"]
    coded = network_maps("arc2face", flame, parameters, camera)["normals"]
    background = (normals == 0).all(0)
    assert (coded[:, background] == 127 / 255).all()
    expected = np.floor((normals / 2 + 0.5).clamp(0, 1).numpy() * 255)
    np.testing.assert_array_equal((coded * 255).round().numpy()[:, ~background], expected[:, ~background])


def test_our_convention_and_unknown_ones(flame, scene):
    *_, parameters, camera = scene
    ours = network_maps("instaface", flame, parameters, camera, (48, 48))
    assert set(ours) == {"normals", "albedo", "rendering"} and ours["albedo"].shape == (3, 48, 48)
    assert set(CONVENTIONS) == {"instaface", "diffusionrig", "caphuman", "arc2face"}
    with pytest.raises(InstaFaceError, match="'decca' is unknown; use one of instaface"):
        network_maps("decca", flame, parameters, camera)
    head = OpenHead.load()
    with pytest.raises(InstaFaceError, match="need FLAME, not openhead"):
        network_maps("diffusionrig", head, head.neutral(), camera)


def test_albedo_is_of_flames_texture_whichever_the_tracker_uses(flame, scene, monkeypatch, tmp_path):
    *_, parameters, camera = scene
    bare = flame.to("cpu")
    bare.texture_space, bare._texture_mean = "bfm", 0 * flame._texture_mean
    expected = network_maps("caphuman", flame, parameters, camera)
    monkeypatch.setattr(FLAME, "load", lambda texture: flame if texture == "flame" else None)
    torch.testing.assert_close(network_maps("caphuman", bare, parameters, camera), expected)
    monkeypatch.undo()
    monkeypatch.setenv("INSTAFACE_HOME", str(tmp_path))
    with pytest.raises(InstaFaceError, match=r"missing: .*generic_model\.pkl"):
        network_maps("caphuman", bare, parameters, camera)


def test_a_model_says_its_convention(flame, scene):
    assert get_args(ModelConfig.model_fields["convention"].annotation) == tuple(CONVENTIONS)
    *_, parameters, camera = scene
    blank = np.zeros((SIZE, SIZE, 3), np.uint8)
    photo = Photo(blank)
    matte = Matte(*np.zeros((3, SIZE, SIZE), np.float32))
    face = TrackedFace(
        photo, 0, (0, 0, SIZE, SIZE), 1.0, np.zeros((478, 2), np.float32), parameters, camera,
        Frame(0, 0, SIZE, SIZE), matte, 0.0, "flame",
    )  # fmt: skip
    flat = blank[..., 0].astype(np.float32)
    drawn = Draft(pixels=blank, appearance=blank, coverage=flat, mask=flat)
    given = conditions(face, drawn, parameters, flame, Canvas.of(face, SIZE), "diffusionrig")
    expected = network_maps("diffusionrig", flame, parameters, camera)
    for name, values in expected.items():
        np.testing.assert_array_equal(given.maps[name], values.numpy())
