"""The torch path gives what the numba path gives, whose reference are closed forms."""

import numpy as np
import pytest
import torch

from instaface.face import Camera, FaceParameters
from instaface.face.light import direction_from_angles, directional
from instaface.render import coverage, extend, interpolate, rasterise, render_maps
from instaface.render import torch_rasteriser as on_device
from scenes import Sphere


def random_points(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Triangles of all sizes in a mess, some beyond the borders, some with corners on pixel centres."""
    generator = np.random.default_rng(seed)
    centre = generator.uniform(-20, 120, (n, 1, 2))
    xy = (centre + generator.normal(0, generator.choice([1, 5, 30], (n, 1, 1)), (n, 3, 2))).reshape(-1, 2)
    xy[::4] = np.floor(xy[::4]) + 0.5
    points = np.concatenate([xy, generator.uniform(5, 50, (3 * n, 1))], 1).astype(np.float32)
    points[7, 2], points[20, 0] = -1, np.nan
    return points, np.arange(3 * n).reshape(-1, 3)


@pytest.mark.parametrize("seed", range(5))
def test_both_paths_see_the_same_triangles(seed):
    scenes = [random_points(seed), random_points(seed + 100)]
    faces = scenes[0][1]
    points = torch.from_numpy(np.stack([scene[0] for scene in scenes]))
    raster = on_device.rasterise(points, torch.from_numpy(faces), 90, 110)
    attributes = torch.randn(points.shape[1], 4, generator=torch.Generator().manual_seed(seed))
    values = on_device.interpolate(raster, torch.from_numpy(faces), attributes)
    assert (raster.face_index >= 0).any()
    for k, (vertices, _) in enumerate(scenes):
        expected = rasterise(vertices, faces, 90, 110)
        np.testing.assert_array_equal(raster.face_index[k].numpy(), expected.face_index)
        np.testing.assert_allclose(raster.barycentric[k].numpy(), expected.barycentric, atol=1e-5)
        np.testing.assert_allclose(raster.depth[k].numpy(), expected.depth, rtol=1e-5)
        np.testing.assert_allclose(values[k].numpy(), interpolate(expected, faces, attributes.numpy()), atol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_both_paths_find_the_same_coverage(seed):
    vertices, faces = random_points(seed, n=8)
    expected = coverage(vertices, faces, 90, 110)
    alpha = on_device.coverage(torch.from_numpy(vertices)[None], torch.from_numpy(faces), 90, 110)[0]
    assert 0 < expected.mean() < 1
    np.testing.assert_allclose(alpha.numpy(), expected, atol=1e-5)
    raster = extend(rasterise(vertices, faces, 90, 110), expected)
    on = on_device.rasterise(torch.from_numpy(vertices)[None], torch.from_numpy(faces), 90, 110)
    extended = on_device.extend(on, alpha[None])
    np.testing.assert_array_equal(extended.face_index[0].numpy(), raster.face_index)
    np.testing.assert_allclose(extended.depth[0].numpy(), raster.depth, rtol=1e-5)


def two_faces(model: Sphere) -> FaceParameters:
    light = directional(
        direction_from_angles(torch.tensor([40.0, -60.0]), torch.tensor([10.0, 30.0])), torch.ones(2), torch.ones(2)
    )
    return model.neutral(2).replace(translation=torch.tensor([[0.0, 1, -60], [3, -2, -50]]), light=light)


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        pytest.param(
            "cuda",
            marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
        ),
    ],
)
def test_a_batch_is_rendered_as_its_faces_one_by_one(device):
    model = Sphere()
    parameters = two_faces(model)
    cameras = [Camera.for_photo(160, 128), Camera.for_photo(160, 128).crop(20, 10, 120, 96, (160, 128))]
    batch = on_device.render_batch(model.to(device), parameters.to(device), cameras)
    coded = batch.for_network()
    for k, camera in enumerate(cameras):
        expected = render_maps(model, parameters[k], camera)
        np.testing.assert_allclose(batch.mask[k, 0].cpu(), expected.mask, atol=1e-4)
        np.testing.assert_allclose(batch.normals[k].permute(1, 2, 0).cpu(), expected.normals, atol=1e-3)
        np.testing.assert_allclose(batch.rendering[k].permute(1, 2, 0).cpu(), expected.rendering, atol=1e-3)
        for name, values in expected.for_network().items():
            np.testing.assert_allclose(coded[name][k].cpu(), values, atol=3e-3)


def test_a_model_moves_with_all_its_tensors():
    model = Sphere()
    moved = model.to("meta")
    assert moved.faces.device.type == "meta" and moved.regions["left"].device.type == "meta"
    assert model.faces.device.type == "cpu" and moved.radius == model.radius
