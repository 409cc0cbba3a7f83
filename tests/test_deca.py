"""FLAME with what OpenHead lends it, and DECA as a tracker, on files that tests make."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import flame_files as files
from instaface import assets
from instaface.assets.kinds import detail_layout, resnet50_layout
from instaface.edit import Edit
from instaface.edit.apply import apply
from instaface.errors import InstaFaceError
from instaface.face import OpenHead
from instaface.face.deca import SH_CONSTANTS, DecaCodes, DecaCrop, project
from instaface.face.flame import FLAME
from instaface.track.deca import detail_networks, encode, encoder, ibug_points, track_with_deca
from instaface.track.deca_networks import DetailDecoder, Encoder, detail


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A user's data folder with FLAME-shaped files that look like a head."""
    folder = tmp_path_factory.mktemp("deca")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSTAFACE_HOME", str(folder))
        files.add_head_like(folder)
    return folder


@pytest.fixture
def home(folder, monkeypatch):
    monkeypatch.setenv("INSTAFACE_HOME", str(folder))
    return folder


@pytest.fixture
def flame(home):
    return FLAME.load()


# --- what OpenHead lends ---


def test_landmarks_are_carried_over(flame):
    head = OpenHead.load()
    ours = flame.landmarks(100 * flame.template[None], "mediapipe")[0]
    theirs = head.landmarks(head.mean[None], "mediapipe")[0]
    distance = (ours - theirs).norm(dim=1)
    assert ours.shape == (478, 3) and distance[:468].median() < 0.1 and distance[:468].quantile(0.95) < 0.5
    eyeballs = flame.faces[flame._schemes["mediapipe"][0][468:]]
    assert (eyeballs[:5] >= 3931).all() and (eyeballs[5:] >= 3931).all()


def test_regions_are_carried_over(flame):
    head = OpenHead.load()
    for name in (
        "nose",
        "chin",
        "forehead",
        "ear_left",
        "ear_right",
        "scalp",
        "neck",
        "cheek_left",
        "lips",
        "brow_left",
    ):
        ours = 100 * flame.template[flame.regions[name]].mean(0)
        theirs = head.mean[head.regions[name]].mean(0)
        assert (ours - theirs).norm() < 3.0, name
    assert flame.regions["eyeball_left"].tolist() == list(range(3931, 4477))
    assert 10 < len(flame.regions["iris_left"]) < 100


def test_blendshapes_move_landmarks_as_openheads_do(flame):
    head = OpenHead.load()
    neutral, other = flame.neutral(), head.neutral()
    for name in ("mouthSmileLeft", "browInnerUp", "mouthPucker", "cheekPuff", "mouthLeft", "jawOpen"):
        moved = []
        for model, rest in ((flame, neutral), (head, other)):
            weights = rest.expression.clone()
            weights[0, model.expression_names.index(name)] = 1
            change = model.vertices(rest.replace(expression=weights)) - model.vertices(rest)
            moved.append(model.landmarks(change, "mediapipe")[0, :468].flatten())
        ours, theirs = moved
        assert torch.cosine_similarity(ours, theirs, dim=0) > 0.9, name
        assert 0.75 < ours.norm() / theirs.norm() < 1.25, name
        residual = flame.arkit.residual[flame.arkit.names.index(name)]
        assert 0 < residual < 0.5


def test_a_tracked_smile_is_found_as_a_smile_and_can_be_replaced(flame):
    smile = [flame.arkit.names.index(name) for name in ("mouthSmileLeft", "mouthSmileRight")]
    own = 0.6 * flame.arkit.matrix[:, smile].sum(1)
    parameters = flame.neutral().replace(
        expression=torch.cat([own[:50], torch.zeros(len(flame.arkit.names))])[None], jaw=torch.rad2deg(own[50:])[None]
    )
    explained = flame.explain(parameters)
    torch.testing.assert_close(flame.vertices(explained), flame.vertices(parameters), atol=1e-3, rtol=0)
    weights = dict(zip(flame.expression_names, explained.expression[0].tolist(), strict=True))
    assert weights["mouthSmileLeft"] == pytest.approx(0.6, abs=0.1)
    assert weights["mouthSmileRight"] == pytest.approx(0.6, abs=0.1)
    assert max(w for name, w in weights.items() if "Smile" not in name and not name.startswith("flame")) < 0.15
    corner = flame.landmarks(flame.vertices(explained), "ibug")[0, 54]
    wider = flame.landmarks(flame.vertices(apply(Edit(expression="smile"), explained, flame)), "ibug")[0, 54]
    assert wider[1] > corner[1] + 0.1  # to 0.8 of a smile
    rest = apply(Edit(expression="neutral"), explained, flame)
    torch.testing.assert_close(flame.vertices(rest), flame.vertices(flame.neutral()), atol=1e-3, rtol=0)


# --- networks ---


def test_networks_have_the_published_names():
    for network, layout, parameters in (
        (Encoder(236), resnet50_layout(236), 25_848_108),
        (Encoder(128), resnet50_layout(128), 25_737_408),
        (DetailDecoder(), detail_layout(), 1_773_345),
    ):
        assert {k: tuple(v.shape) for k, v in network.state_dict().items()} == layout
        assert sum(p.numel() for p in network.parameters()) == parameters


def functional_encoder(w, x):
    """ResNet-50 and two layers by name, from the paper."""

    def norm(x, name):
        return F.batch_norm(
            x, w[name + ".running_mean"], w[name + ".running_var"], w[name + ".weight"], w[name + ".bias"]
        )

    x = F.relu(norm(F.conv2d(x, w["encoder.conv1.weight"], stride=2, padding=3), "encoder.bn1"))
    x = F.max_pool2d(x, 3, 2, 1)
    for stage, blocks in ((1, 3), (2, 4), (3, 6), (4, 3)):
        for block in range(blocks):
            name, stride = f"encoder.layer{stage}.{block}", 2 if stage > 1 and block == 0 else 1
            y = F.relu(norm(F.conv2d(x, w[name + ".conv1.weight"]), name + ".bn1"))
            y = F.relu(norm(F.conv2d(y, w[name + ".conv2.weight"], stride=stride, padding=1), name + ".bn2"))
            y = norm(F.conv2d(y, w[name + ".conv3.weight"]), name + ".bn3")
            if block == 0:
                x = norm(F.conv2d(x, w[name + ".downsample.0.weight"], stride=stride), name + ".downsample.1")
            x = F.relu(x + y)
    x = F.avg_pool2d(x, 7).flatten(1)
    x = F.relu(x @ w["layers.0.weight"].T + w["layers.0.bias"])
    return x @ w["layers.2.weight"].T + w["layers.2.bias"]


def test_the_encoder_computes_a_resnet():
    torch.manual_seed(0)
    network = Encoder(236).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1), module.running_var.uniform_(0.5, 1.5)
            module.weight.data.uniform_(0.3, 1), module.bias.data.uniform_(-0.1, 0.1)
    pictures = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        torch.testing.assert_close(network(pictures), functional_encoder(network.state_dict(), pictures))


def test_the_detail_decoder_displaces_by_at_most_a_centimetre():
    torch.manual_seed(0)
    decoder = DetailDecoder().eval()
    assert [m.eps for m in decoder.conv_blocks if isinstance(m, torch.nn.BatchNorm2d)] == [1e-5, *[0.8] * 5]
    with torch.no_grad():
        out = detail(torch.randn(2, 3), torch.randn(2, 50), 100 * torch.randn(2, 128), decoder)
    assert out.shape == (2, 1, 256, 256) and 0 < out.abs().max() <= 0.01


# --- the tracker ---


@pytest.fixture(scope="module")
def codes():
    """The numbers that the stand-in network answers with, whatever it sees."""
    generator = torch.Generator().manual_seed(5)
    out = torch.zeros(236)
    out[:100] = 0.3 * torch.randn(100, generator=generator)
    out[200:206] = torch.tensor([0.1, -0.2, 0.05, 0.08, 0.0, 0.0])
    out[206:209] = torch.tensor([9.0, 0.0, 0.02])
    out[209:212] = torch.tensor([3.2, 3.0, 2.8])
    out[218:221] = 0.4  # along z
    return out


@pytest.fixture(scope="module")
def weights(folder, codes):
    """`deca_model.tar` whose coarse encoder answers with ``codes``, added to the user's files."""
    torch.manual_seed(0)
    coarse = Encoder(236)
    coarse.layers[2].weight.data.zero_()
    coarse.layers[2].bias.data = codes.clone()
    content = {
        "E_flame": coarse.state_dict(),
        "E_detail": Encoder(128).state_dict(),
        "D_detail": DetailDecoder().state_dict(),
        "opt": {"state": {}, "param_groups": [{"lr": 1e-4, "params": [0]}]},
    }
    torch.save(content, folder / "deca_model.tar")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSTAFACE_HOME", str(folder))
        assert assets.add(folder / "deca_model.tar").notes == []


def test_without_weights_the_message_says_what_to_add(home, flame, monkeypatch, tmp_path):
    monkeypatch.setenv("INSTAFACE_HOME", str(tmp_path))
    with pytest.raises(InstaFaceError, match=r"deca_model.tar.*instaface assets add"):
        encoder()
    with pytest.raises(InstaFaceError, match=r"generic_model.pkl.*instaface assets add"):
        FLAME.load()


def test_a_photo_is_measured_by_deca(home, weights, flame, codes):
    import skimage

    photo = skimage.data.astronaut()
    (face,) = track_with_deca(photo, faces=1)
    assert face.model == "flame" and face.timings["deca"] > 0
    parameters = face.parameters
    torch.testing.assert_close(parameters.identity[0], codes[:100])
    expression, jaw = flame.own_expression(parameters)
    torch.testing.assert_close(expression[0], codes[150:200], atol=1e-4, rtol=0)
    torch.testing.assert_close(jaw[0], codes[203:206], atol=1e-4, rtol=0)
    # Where the mesh lies in the photo is where DECA's own projection, taken back through its crop, puts it.
    crop = DecaCrop.around(ibug_points(face))
    split = DecaCodes.split(codes[None])
    vertices, joints = flame.pose(parameters.identity, expression, flame.rotations(parameters))
    expected = crop.to_photo(project(vertices, split.cam)[..., :2])
    seen = face.camera.project(flame.vertices(parameters))[..., :2]
    assert (seen - expected).abs().max() < 0.002 * crop.side
    assert 0.3 * crop.side < np.ptp(seen[0, :, 0].numpy()) < 2 * crop.side and joints.shape == (1, 5, 3)
    assert face.fit_error == face.fit_error and face.fit_error > 0  # a number


def test_the_network_sees_the_crop_as_decas_does(home, weights, codes):
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (200, 200, 3), dtype=np.uint8)
    seen = []

    def spy(pictures):
        seen.append(pictures)
        return codes[None]

    found = encode(photo, DecaCrop((100.0, 90.0), 120), spy)
    assert seen[0].shape == (1, 3, 224, 224) and seen[0].dtype == torch.float32
    assert seen[0].min() >= 0 and 0.5 < seen[0].max() <= 1
    torch.testing.assert_close(found.light[0, 0], codes[209:212])


def test_detail_networks_are_filled(home, weights):
    coarse, decoder = detail_networks()
    assert not coarse.training and not decoder.training
    assert len(SH_CONSTANTS) == 9
