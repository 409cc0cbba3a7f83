"""Maps of a lit sphere against closed forms."""

import numpy as np
import pytest
import torch

from instaface.face import Camera, OpenHead
from instaface.face.light import direction_from_angles, directional, shade
from instaface.render import Maps, region_mask, render_maps
from instaface.render.maps import albedo_picture
from instaface.render.torch_rasteriser import sample_texture
from scenes import Sphere

SIZE, RADIUS, DISTANCE = 256, 8.0, 60.0


@pytest.fixture(scope="module")
def scene() -> tuple[Maps, np.ndarray, np.ndarray]:
    """Maps of the sphere; and what they should be: where rays hit it, and its normals there."""
    model, camera = Sphere(RADIUS), Camera.for_photo(SIZE, SIZE)
    light = directional(direction_from_angles(torch.tensor([50.0]), torch.tensor([30.0])), torch.ones(1), torch.ones(1))
    parameters = model.neutral().replace(translation=torch.tensor([[0.0, 0.0, -DISTANCE]]), light=light)
    maps = render_maps(model, parameters, camera)
    v, u = np.mgrid[0:SIZE, 0:SIZE] + 0.5
    rays = camera.unproject(np.stack([u, v], -1), np.ones((SIZE, SIZE))).astype(np.float64)
    # |t ray - centre|^2 = radius^2, the smaller t; rays have z = -1.
    square, product = (rays**2).sum(-1), DISTANCE
    root = product**2 - square * (DISTANCE**2 - RADIUS**2)
    hit = root > 0
    t = (product - np.sqrt(root.clip(0))) / square
    normals = (t[..., None] * rays - [0, 0, -DISTANCE]) / RADIUS
    return maps, hit, normals


def inner(normals: np.ndarray, hit: np.ndarray, least: float = 0.3) -> np.ndarray:
    """Pixels where the sphere does not yet turn away."""
    return hit & (normals[..., 2] > least)


def test_mask_is_the_area_of_the_disc_and_soft_at_its_rim(scene):
    maps, hit, _ = scene
    # The outline of a sphere is seen under the angle asin(radius / distance).
    radius = 1.8 * SIZE * np.tan(np.arcsin(RADIUS / DISTANCE))
    assert maps.mask.sum() == pytest.approx(np.pi * radius**2, rel=2e-3)
    assert (maps.mask[hit] > 0).mean() > 0.995 and (maps.mask[~hit] < 1).all()
    rim = (maps.mask > 0) & (maps.mask < 1)
    assert 0.5 < rim.sum() / (8 * radius) < 1.5  # a circle crosses about 8 pixels for each pixel of its radius
    assert abs(maps.mask[rim].mean() - 0.5) < 0.05


def test_normals_and_depth_are_those_of_the_sphere(scene):
    maps, hit, normals = scene
    seen = maps.raster.covered
    np.testing.assert_allclose(np.linalg.norm(maps.normals[seen], axis=-1), 1, atol=1e-5)
    assert not maps.normals[~seen].any() and np.isinf(maps.depth[~seen]).all()
    angle = np.degrees(np.arccos((maps.normals * normals).sum(-1).clip(-1, 1)))
    assert angle[inner(normals, hit)].max() < 1.0
    depth = DISTANCE - RADIUS * normals[..., 2]
    # The facets lie up to 0.005 cm under the sphere, several times that along a slanted ray.
    np.testing.assert_allclose(maps.depth[inner(normals, hit)], depth[inner(normals, hit)], atol=0.03)
    assert maps.normals[SIZE // 2, SIZE * 5 // 8, 0] > 0.3 and maps.normals[SIZE * 3 // 8, SIZE // 2, 1] > 0.3


def test_shading_is_that_of_the_light_and_brighter_towards_it(scene):
    maps, hit, normals = scene
    direction = direction_from_angles(torch.tensor([50.0]), torch.tensor([30.0]))
    expected = shade(
        torch.from_numpy(normals.astype(np.float32))[None], directional(direction, torch.ones(1), torch.ones(1))
    )
    where = inner(normals, hit)
    np.testing.assert_allclose(maps.shading[where], expected[0].numpy()[where], atol=0.02)
    cosine = normals @ direction[0].numpy().astype(np.float64)
    assert np.abs(maps.shading[where][:, 0] - 1 - cosine[where].clip(0)).mean() < 0.05


def test_albedo_labels_and_rendering_follow_the_surface(scene):
    maps, hit, normals = scene
    for name, side, colour in [("left", -1, (0.8, 0.1, 0.1)), ("right", 1, (0.1, 0.1, 0.6))]:
        where = inner(normals, hit) & (normals[..., 0] * side > 0.1)
        assert where.sum() > 1000 and (maps.labels[where] == 1 + maps.label_names.index(name)).all()
        assert region_mask(Sphere(RADIUS), maps, "ball")[where].all()
        assert region_mask(Sphere(RADIUS), maps, name)[where].all()
        np.testing.assert_allclose(maps.albedo[where], np.broadcast_to(colour, (where.sum(), 3)), atol=1e-6)
    np.testing.assert_allclose(maps.rendering, (maps.albedo * maps.shading).clip(max=1), atol=1e-6)
    assert not region_mask(Sphere(RADIUS), maps, "left")[maps.labels != 2].any()
    assert (
        not maps.labels[maps.mask == 0].any()
        and (maps.vertex[maps.mask == 0] == -1).all()
        and not maps.rendering[maps.mask == 0].any()
    )


def test_network_sees_photos(scene):
    maps, *_ = scene
    coded = maps.for_network()
    assert list(coded) == ["normals", "albedo", "rendering"]
    for values in coded.values():
        assert values.shape == (3, SIZE, SIZE) and values.dtype == np.float32
        assert np.abs(values).max() <= 1 and not values[:, maps.mask == 0].any()
    inside = maps.mask == 1
    np.testing.assert_array_equal(coded["normals"][:, inside], maps.normals[inside].T)
    # Linear 0.6 is sRGB 0.7977.
    blue = coded["albedo"][2, SIZE // 2, SIZE * 5 // 8]
    assert float(blue) == pytest.approx(2 * 0.7977 - 1, abs=1e-3)


def test_size_rescales_the_view(scene):
    maps, *_ = scene
    model = Sphere(RADIUS)
    parameters = model.neutral().replace(translation=torch.tensor([[0.0, 0.0, -DISTANCE]]))
    small = render_maps(model, parameters, Camera.for_photo(SIZE, SIZE), (64, 64))
    np.testing.assert_allclose(small.mask, maps.mask.reshape(64, 4, 64, 4).mean((1, 3)), atol=1e-4)
    with pytest.raises(ValueError, match="one face"):
        render_maps(model, model.neutral(2), Camera.for_photo(SIZE, SIZE))


def test_texture_is_sampled_at_its_texels_centres():
    texture = torch.arange(16.0).view(1, 1, 4, 4)
    samples = sample_texture(texture, torch.tensor([[[0.125, 0.875], [0.375, 0.875], [0.25, 0.75], [0.0, 0.0]]]))
    assert samples[0, :, 0].tolist() == [0.0, 1.0, 2.5, 12.0]


def test_the_albedo_is_that_of_the_parameters_and_kept_for_the_next_picture():
    model = OpenHead.load("numpy")
    plain = model.neutral()
    other = plain.replace(albedo=plain.albedo + 1)
    pictures = [albedo_picture(model, parameters) for parameters in (plain, other, other, plain)]
    assert pictures[1] is pictures[2] and not np.array_equal(pictures[0], pictures[1])
    np.testing.assert_array_equal(pictures[3], np.moveaxis(model.albedo(plain.albedo)[0], 0, -1))
