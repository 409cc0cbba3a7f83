"""Metrics against values of libraries and of the literature, and that they react as they must."""

import cv2
import numpy as np
import pytest
import scipy.linalg
import scipy.stats
import skimage.data
import skimage.metrics
import torch

from instaface.errors import InstaFaceError
from instaface.evaluation import inception, pose
from instaface.evaluation.cheeks import cheek_ratio
from instaface.evaluation.detection import area_under_roc, detection_scores, features, radial_spectrum
from instaface.evaluation.figures import FIGURES, statistic
from instaface.evaluation.inception import frechet_distance, kernel_distance
from instaface.evaluation.patches import excess, laplacian_pyramid, patch_corners, patches, sliced_wasserstein
from instaface.evaluation.pixels import colour_shift, psnr, sharpness_kept, ssim
from instaface.evaluation.pose import NOSE_DOWN, NOSE_OUT, pose_by_five_points, pose_by_pnp, rigid_points
from instaface.evaluation.realism import jackknife
from instaface.evaluation.statistics import bootstrap_interval
from instaface.face import Camera, rotation_from_angles


@pytest.fixture(scope="module")
def photo():
    return skimage.data.astronaut()


def noisy(photo, sigma=10.0, seed=0):
    noise = np.random.default_rng(seed).normal(0, sigma, photo.shape)
    return (photo + noise).clip(0, 255).astype(np.uint8)


def test_psnr_and_ssim_are_the_librarys(photo):
    other = noisy(photo)
    assert psnr(photo, other) == pytest.approx(skimage.metrics.peak_signal_noise_ratio(photo, other))
    whole = skimage.metrics.structural_similarity(
        photo, other, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )[1].mean()
    assert ssim(photo, other) == pytest.approx(whole, abs=1e-5)
    assert ssim(photo, photo) == pytest.approx(1)


def test_psnr_sees_only_the_mask(photo):
    changed = photo.copy()
    changed[:100] = 0
    mask = np.zeros(photo.shape[:2], bool)
    mask[100:] = True
    assert psnr(photo, changed, mask) == float("inf")
    assert psnr(photo, changed, ~mask) < 20
    assert np.isnan(psnr(photo, changed, np.zeros_like(mask)))


def test_colour_shift_is_the_distance_of_means():
    grey, red = np.full((8, 8, 3), 128, np.uint8), np.full((8, 8, 3), (138, 128, 128), np.uint8)
    expected = skimage.color.deltaE_ciede2000(skimage.color.rgb2lab(grey[0, 0]), skimage.color.rgb2lab(red[0, 0]))
    assert colour_shift(grey, red) == pytest.approx(float(expected), rel=1e-5)
    assert colour_shift(grey, grey) == 0


def test_sharpness_falls_with_blur_and_rises_with_noise(photo):
    kept = [sharpness_kept(photo, cv2.GaussianBlur(photo, (0, 0), sigma)) for sigma in (0.5, 1, 2)]
    assert 1 > kept[0] > kept[1] > kept[2]
    assert sharpness_kept(photo, noisy(photo)) > 1 == sharpness_kept(photo, photo)


def test_the_pyramid_sums_up_to_the_picture(photo):
    pyramid = laplacian_pyramid(photo)
    image = pyramid[-1]
    for level in pyramid[-2::-1]:
        image = level + cv2.pyrUp(image, dstsize=level.shape[1::-1])
    np.testing.assert_allclose(image, photo / 255, atol=1e-5)


def test_patches_lie_in_the_mask():
    mask = np.zeros((64, 64), bool)
    mask[40:50, 20:30] = True
    corners = patch_corners(mask, 0, 50, np.random.default_rng(0))
    assert mask[tuple(corners.T + 3)].all()
    picture = np.random.default_rng(0).random((64, 64, 3)).astype(np.float32)
    row, column = corners[7]
    np.testing.assert_array_equal(patches(picture, corners)[7], picture[row : row + 7, column : column + 7].ravel())
    assert patch_corners(np.zeros((64, 64), bool), 0, 5, np.random.default_rng(0)) is None


def test_sliced_wasserstein_is_the_mean_of_the_librarys_distances():
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 1, (300, 5)), rng.normal(0.5, 2, (300, 5))
    directions = np.random.default_rng(0).standard_normal((5, 32)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=0)
    expected = np.mean([scipy.stats.wasserstein_distance(a @ d, b @ d) for d in directions.T])
    assert sliced_wasserstein(a, b, projections=32, seed=0) == pytest.approx(expected, rel=1e-4)


DAMAGE = {
    "blur": lambda photo: cv2.GaussianBlur(photo, (0, 0), 3),
    "noise": lambda photo: noisy(photo, 25),
    "holes": lambda photo: np.where(np.indices(photo.shape[:2]).sum(0)[..., None] % 32 < 8, np.uint8(128), photo),
    "blocks": lambda photo: photo[::8, ::8].repeat(8, 0).repeat(8, 1),
}


def crops(photo, count=24, size=128):
    """Parts of a photo, as if each were a photo of its own."""
    corners = np.random.default_rng(0).integers(0, photo.shape[0] - size, (count, 2))
    return [np.ascontiguousarray(photo[y : y + size, x : x + size]) for y, x in corners]


@pytest.mark.parametrize("damage", [*DAMAGE, "none"])
def test_realism_falls_with_damage_and_is_the_floor_without(photo, damage):
    photos = crops(photo)
    edits = [DAMAGE[damage](crop) if damage != "none" else crop for crop in photos]
    corners = patch_corners(np.ones((128, 128), bool), 0, 64, np.random.default_rng(0))
    sets = [[patches(laplacian_pyramid(crop)[0], corners) for crop in group] for group in (edits, photos)]
    more, floor = excess(*sets)
    assert floor > 0
    values = [np.array([features(crop) for crop in group]) for group in (photos, edits)]
    auc = area_under_roc(*detection_scores(*values, [index % 5 for index in range(len(photos))]))
    if damage == "none":
        assert more == 0
        assert auc == pytest.approx(0.5, abs=0.05)
    else:
        assert more > floor / 4
        assert auc > 0.8


def test_more_damage_is_less_real(photo):
    photos = crops(photo)
    corners = patch_corners(np.ones((128, 128), bool), 0, 64, np.random.default_rng(0))
    real = [patches(laplacian_pyramid(crop)[0], corners) for crop in photos]
    scores = [
        excess([patches(laplacian_pyramid(cv2.GaussianBlur(crop, (0, 0), s))[0], corners) for crop in photos], real)[0]
        for s in (0.5, 1, 2)
    ]
    assert scores == sorted(scores)


def test_the_spectrum_finds_a_wave():
    wave = np.tile(127 + 100 * np.sin(np.arange(128) * np.pi / 4), (128, 1))  # a quarter of the Nyquist frequency
    assert radial_spectrum(wave).argmax() == 4


def test_frechet_distance_of_gaussians():
    """Heusel et al. 2017, equation 6, with scipy's matrix root; and the closed form in one dimension."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(400, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(300, 6)) + 0.3
    one, other = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    root = scipy.linalg.sqrtm(one @ other).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(one + other - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


class Network(torch.nn.Module):
    """Called as StyleGAN2-ADA's networks are; its features are the means of the halves of the colours."""

    def forward(
        self, img: torch.Tensor, resize_images: bool = True, return_features: bool = False, return_lpips: bool = False
    ) -> torch.Tensor:
        if not return_features and not (return_lpips and not resize_images and img.is_floating_point()):
            raise ValueError("called otherwise than by StyleGAN2-ADA")
        half = img.shape[3] // 2
        return torch.cat([img[..., :half].float().mean((2, 3)), img[..., half:].float().mean((2, 3))], 1)


def test_networks_of_stylegan_are_called_as_there(tmp_path, monkeypatch, photo):
    monkeypatch.setattr(inception, "folder", lambda: tmp_path)
    assert "is not in" in inception.missing(inception.VGG)
    for file in (inception.INCEPTION, inception.VGG):
        torch.jit.script(Network()).save(tmp_path / file)
        assert inception.missing(file) is None
    found = inception.inception_features(np.stack([photo, photo[:, ::-1]]))
    left, right = photo[:, :256].mean((0, 1)), photo[:, 256:].mean((0, 1))
    np.testing.assert_allclose(found, [[*left, *right], [*right, *left]], rtol=1e-5)
    expected = 2 * ((left - right) ** 2).sum()
    assert inception.lpips(photo, photo[:, ::-1]) == pytest.approx(expected, rel=1e-4)
    assert inception.lpips(photo, photo) == 0


def test_a_file_that_is_no_network_is_named(tmp_path, monkeypatch, photo):
    monkeypatch.setattr(inception, "folder", lambda: tmp_path)
    inception._network.cache_clear()
    (tmp_path / inception.VGG).write_bytes(b"<html>not found</html>")
    with pytest.raises(InstaFaceError, match=r"vgg16.pt cannot be used"):
        inception.lpips(photo, photo)


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=40)
    interval = jackknife(values.mean(), [np.delete(values, k).mean() for k in range(40)])
    assert interval["high"] - values.mean() == pytest.approx(1.96 * scipy.stats.sem(values))


def test_kernel_distance_is_unbiased():
    rng = np.random.default_rng(0)
    draws = [kernel_distance(*rng.normal(size=(2, 50, 8))) for _ in range(200)]
    assert abs(np.mean(draws)) < 3 * np.std(draws) / np.sqrt(len(draws))
    assert kernel_distance(rng.normal(size=(50, 8)), rng.normal(1, 1, (50, 8))) > 10 * np.std(draws)


def landmarks_at(angles, camera):
    indices, points = rigid_points()
    turn = rotation_from_angles(torch.tensor(angles, dtype=torch.float64)).numpy()
    posed = torch.from_numpy(points @ turn.T + [1.0, -2.0, -60.0])
    landmarks = np.zeros((478, 2))
    landmarks[indices] = camera.project(posed)[:, :2].numpy()
    return landmarks


@pytest.mark.parametrize("angles", [(0.0, 0.0, 0.0), (30.0, 0.0, 0.0), (-20.0, 15.0, 10.0), (5.0, -25.0, -30.0)])
def test_pnp_finds_a_known_pose_with_the_projects_signs(angles):
    camera = Camera.for_photo(512, 512)
    np.testing.assert_allclose(pose_by_pnp(landmarks_at(angles, camera), camera), angles, atol=1e-3)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_five_points_find_a_known_turn_with_the_projects_signs(axis):
    """A face of the generic proportions, seen from far away; a nod is read as the predictor shows it."""
    out = pose.NOSE_OUT_NOD if axis == 1 else NOSE_OUT
    face = np.array([[0.7, 0, 0], [0.3, 0, 0], [-0.7, 0, 0], [-0.3, 0, 0], [0, -NOSE_DOWN, out]])
    for degrees in (-25.0, 10.0, 20.0):
        angles = [degrees * (axis == k) for k in range(3)]
        turned = face @ rotation_from_angles(torch.tensor(angles, dtype=torch.float64)).numpy().T
        points = 100 * turned[:, :2] * [1, -1] + 300
        np.testing.assert_allclose(pose_by_five_points(points), angles, atol=1e-6)


def test_cheeks_tell_where_the_light_is():
    landmarks = np.full((478, 2), 50.0)
    landmarks[[33, 263]] = [[30, 40], [70, 40]]
    landmarks[[425, 280, 330]] = [65, 60]
    landmarks[[205, 50, 101]] = [35, 60]
    picture = np.full((100, 100, 3), 188, np.uint8)  # linear 0.5
    assert cheek_ratio(picture, landmarks) == pytest.approx(0)
    picture[:, :50] = 137  # linear 0.25: half the light on the picture's left
    assert cheek_ratio(picture, landmarks) == pytest.approx(1, abs=0.02)


def test_a_slope_is_least_squares_through_the_origin():
    rng = np.random.default_rng(0)
    asked = rng.uniform(-30, 30, (100, 1))
    got = 0.7 * asked + rng.normal(0, 1, (100, 1))
    figure = next(figure for figure in FIGURES if figure.statistic == "slope")
    expected = np.linalg.lstsq(asked, got[:, 0], rcond=None)[0][0]
    assert float(statistic(figure, (asked, got))) == pytest.approx(expected)
    got[:50] = np.nan  # rows without a face count neither way
    expected = np.linalg.lstsq(asked[50:], got[50:, 0], rcond=None)[0][0]
    assert float(statistic(figure, (asked, got))) == pytest.approx(expected)
    assert np.isnan(statistic(figure, (0 * asked, got)))


def test_the_interval_is_the_librarys():
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, 200)
    expected = scipy.stats.bootstrap((values,), np.mean, method="percentile", rng=rng).confidence_interval
    interval = bootstrap_interval((values[:, None],), lambda x: x.mean(axis=(-2, -1)))
    np.testing.assert_allclose(interval, expected, atol=0.025)


def test_edits_of_one_photo_do_not_make_a_figure_surer():
    """Ten equal rows a photo leave the interval as wide as one row a photo."""
    values = np.random.default_rng(0).normal(size=(50, 1))
    intervals = [bootstrap_interval((v,), lambda x: x.mean(axis=(-2, -1))) for v in (values, values.repeat(10, 1))]
    np.testing.assert_allclose(*intervals)
