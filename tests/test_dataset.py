"""From photos to shards to training pairs."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.data import default_collate

from instaface.draft import Draft, draft, reworked
from instaface.edit import NEUTRAL, Edit
from instaface.edit.apply import apply
from instaface.errors import InstaFaceError
from instaface.face import Camera, OpenHead
from instaface.face.colour import pixels_from_linear
from instaface.photo import Photo, composite
from instaface.render import render_maps
from instaface.track import track
from instaface.track.models import face_model
from instaface.training.align import crop_ffhq, ffhq_quad
from instaface.training.cameras import another_camera
from instaface.training.config import DataConfig, TrainingConfig
from instaface.training.device_maps import DeviceMaps, view_of
from instaface.training.exchanges import held_before, other_background, other_hair
from instaface.training.loop import train
from instaface.training.pair_source import Pairs, augment
from instaface.training.pairs import (
    ASIDE,
    KNOWN,
    holes,
    mirrored,
    outlined,
    random_edit,
    real,
    rendered,
    there_and_back,
)
from instaface.training.prepare import LeftOut, prepare, prepare_photo
from instaface.training.samples import make_samples, mirrored_sample, unpack_sample
from instaface.training.shards import Shards, read_files
from instaface.training.sources import sources
from tiny_model import tiny_config
from tiny_training import tiny_training

AS_THEY_ARE = {"other_background": 0, "other_hair": 0, "held_before": 0}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """The astronaut, a wall, and something that is no photo."""
    folder = tmp_path_factory.mktemp("photos")
    Image.fromarray(data.astronaut()).save(folder / "astronaut.png")
    Image.new("RGB", (300, 300), (90, 120, 90)).save(folder / "wall.png")
    (folder / "zero.jpg").write_bytes(b"")
    (folder / "labels.csv").write_text("file,group\nastronaut.png,nasa\n")
    return folder


@pytest.fixture(scope="module")
def dataset(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("dataset")
    assert prepare(photos, folder, size=256, labels=photos / "labels.csv", shard_size=2, jobs=1) == 1
    return folder


def test_what_is_left_out_is_named_with_its_reason_and_a_second_run_does_nothing_again(photos, dataset):
    reasons = "".join(path.read_text() for path in sorted(dataset.glob("*.tsv"))).splitlines()
    assert len(reasons) == 2 and "wall.png\tno face found" in reasons[0] and "zero.jpg" in reasons[1]
    before = {path: path.stat().st_mtime_ns for path in dataset.glob("*.tar")}
    assert len(before) == 2
    assert prepare(photos, dataset, size=256, shard_size=2, jobs=1) == 1
    assert before == {path: path.stat().st_mtime_ns for path in dataset.glob("*.tar")}


def test_a_face_comes_back_from_its_shard(photos, dataset):
    prepared = Shards(dataset)[0]
    assert prepared.key == "astronaut" and prepared.labels == {"group": "nasa", "split": "validation"}
    face = prepared.face
    assert face.photo.pixels.shape == (256, 256, 3) and face.landmarks.shape == (478, 2)
    assert face.matte.person.shape == face.working.frame_pixels.shape[:2] and face.matte.hair.max() > 0.5
    assert np.linalg.norm(prepared.embeddings["dlib"]) == pytest.approx(1, abs=1e-5)
    eyes = face.landmarks[[33, 133]].mean(0), face.landmarks[[362, 263]].mean(0)
    assert abs(eyes[0][1] - eyes[1][1]) < 4 and 90 < (eyes[0][0] + eyes[1][0]) / 2 < 166


def test_one_photo_is_a_pure_function(photos):
    one, again = (prepare_photo(photos / "astronaut.png", 256, ("dlib",)) for _ in range(2))
    assert not isinstance(one, LeftOut) and one == again


def test_the_ffhq_crop_is_upright_and_centred():
    landmarks = np.zeros((478, 2))
    turn = np.array([[0.8, 0.6], [-0.6, 0.8]])  # tilted by 37 degrees
    for places, at in (([33, 133], (-30, 0)), ([362, 263], (30, 0)), ([61, 291], (0, 66))):
        landmarks[places] = np.array(at) @ turn + 300
    quad = ffhq_quad(landmarks)
    across, down = quad[2] - quad[1], quad[1] - quad[0]
    assert np.hypot(*across) == pytest.approx(np.hypot(*down)) and across @ down == pytest.approx(0, abs=1e-6)
    assert across / np.hypot(*across) == pytest.approx(np.array([0.8, 0.6]), abs=1e-6)
    # 4 x the distance of the eyes, or 3.6 x that from eyes to mouth, whichever is more.
    assert np.hypot(*across) == pytest.approx(max(4 * 60, 3.6 * 66))
    y, x = np.mgrid[:600, :600]
    picture = np.stack([x / 3, y / 3, x * 0], -1).astype(np.uint8)
    crop, outside = crop_ffhq(picture, landmarks, 128)
    center = np.array(300 + 0.1 * np.array((0, 66)) @ turn)
    assert crop[63:65, 63:65, :2].mean((0, 1)) * 3 == pytest.approx(center, abs=3)
    assert outside < 0.01


def test_there_and_back_gives_the_real_photo_as_target_and_a_real_edits_holes(dataset):
    model, face = OpenHead.load(), Shards(dataset)[0].face
    pair = there_and_back(face, Edit(turn=25), model)
    assert pair.target is face
    for value in (pair.drawn.coverage, pair.drawn.mask):
        assert value.min() >= 0 and value.max() <= 1
    unseen = pair.drawn.coverage < KNOWN
    assert 0.01 < unseen.mean() < 0.6
    assert (pair.drawn.appearance[unseen] == 127).all()
    frame = pair.drawn_face.frame
    photo = face.photo.pixels[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width].astype(int)
    error = np.abs(pair.drawn.pixels - photo).mean(-1)
    assert error[~unseen].mean() < error[unseen].mean()
    assert error[~unseen].mean() > 0.5  # the fit is another one: it does not come back as it was

    sharp = holes(face, Edit(turn=25), model)
    region = reworked(sharp.drawn.coverage)
    assert np.array_equal(sharp.drawn.pixels[region == 0], photo[region == 0])
    assert np.array_equal(sharp.drawn.pixels[region == 1], pair.drawn.pixels[region == 1])
    assert 0.05 < (region == 1).mean() < 0.7 and (region == 0).mean() > 0.2


def test_the_target_of_holes_has_the_outline_that_was_drawn_but_none_of_the_loose_hair():
    photo, drawn_pixels = np.full((200, 200, 3), 10, np.uint8), np.full((200, 200, 3), 90, np.uint8)
    person, opacity = np.zeros((200, 200), np.float32), np.zeros((200, 200), np.float32)
    person[:, 50:150] = 1  # the draft's head is 4 pixels to the right, and a strand hangs at its side
    opacity[:, 54:154] = 1
    opacity[80:120, 180:190] = 1
    drawn = Draft(drawn_pixels, drawn_pixels, 1 - opacity, opacity, opacity=opacity)
    target = outlined(photo, person, drawn)[..., 0]
    assert (target[:, 50:54] > 85).all() and (target[:, 150:154] > 85).all()
    assert (target[:, 65:140] == 10).all() and (target[:, :40] == 10).all() and (target[:, 165:] == 10).all()
    assert np.array_equal(outlined(photo, person, replace(drawn, opacity=np.empty((0, 0), np.float32))), photo)


def turned(dataset, degrees: float):
    """The astronaut's photo with a turned head, tracked anew: another photo of the same person."""
    model, face = OpenHead.load(), Shards(dataset)[0].face
    drawn = draft(face, apply(Edit(turn=degrees), face.parameters, model), model)
    frame = face.frame
    return track(composite(face.photo.pixels, drawn.pixels, drawn.mask, frame.x, frame.y), faces=1)[0]


def test_a_turned_face_is_seen_from_the_other_side_in_its_mirror_image(dataset):
    model, target = OpenHead.load(), turned(dataset, 20)
    assert mirrored(Shards(dataset)[0].face, model) is None  # looks ahead
    pair = mirrored(target, model)
    before, after = float(pair.drawn_face.parameters.head[0, 0]), float(pair.parameters.head[0, 0])
    assert before * after < 0 and abs(after) > ASIDE
    assert 0.03 < pair.weight.mean() < 0.5  # the face alone
    frame, eyes = pair.drawn_face.frame, np.hypot(*(target.landmarks[33] - target.landmarks[263]))
    shown = track(pair.drawn.pixels, faces=1)[0].landmarks + np.array([frame.x, frame.y])
    carried, before = (np.hypot(*(at - target.landmarks).T).mean() for at in (shown, pair.drawn_face.landmarks))
    assert carried < 0.05 * eyes < 0.1 * eyes < before


def test_another_photo_of_the_person_is_carried_into_the_view_of_the_first(dataset):
    model, target, source = OpenHead.load(), Shards(dataset)[0].face, turned(dataset, 20)
    pair = real(source, target, model)
    assert pair.target is target and pair.drawn_face is source
    assert torch.equal(pair.parameters.head, target.parameters.head)
    frame = target.frame
    seen = np.zeros(target.photo.pixels.shape[:2], bool)
    clothes = cv2.resize(target.matte.clothes, (frame.width, frame.height))
    seen[frame.y : frame.y + frame.height, frame.x : frame.x + frame.width] = clothes > 0.9
    assert pair.weight[seen].max() < 0.11  # what the photos do not share does not count


def test_renderings_show_poses_and_lights_that_photos_lack(dataset):
    model, target, options = OpenHead.load(), Shards(dataset)[0].face, DataConfig(turn=30)
    pairs = [rendered(target, model, np.random.default_rng(k), options) for k in range(3)]
    found = [pair for pair in pairs if pair is not None]
    assert found
    for pair in found:
        assert not torch.equal(pair.parameters.light, target.parameters.light)
        assert 0.02 < pair.weight.mean() < 0.6
        maps = render_maps(model, pair.target.parameters, pair.target.camera)
        shown = pixels_from_linear(maps.rendering).astype(int)
        inside = cv2.erode((maps.mask == 1).astype(np.uint8), np.ones((3, 3))) > 0
        assert np.abs(shown - pair.target.photo.pixels)[inside].max() <= 1


def test_photos_in_subfolders_are_paired_by_person(photos, tmp_path):
    for name in ("ann", "bob"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for k in range(2):
            (tmp_path / "in" / name / f"{k}.png").write_bytes((photos / "astronaut.png").read_bytes())
    assert prepare(tmp_path / "in", tmp_path / "out", size=256, jobs=1) == 4
    shards = Shards(tmp_path / "out")
    assert sorted((row["key"], row["labels"]["person"]) for row in shards.rows) == [
        ("ann-0", "ann"), ("ann-1", "ann"), ("bob-0", "bob"), ("bob-1", "bob"),
    ]  # fmt: skip
    pairs = Pairs(shards, [0, 1, 2, 3], DataConfig(pairs={"real": 1}), 64, "dlib")
    assert [pairs._others(n) for n in range(4)] == [[1], [0], [3], [2]]
    assert float(pairs.sample(0, np.random.default_rng(0))["given"]["appearance"]) == 1
    alone = Pairs(shards, [0, 2], DataConfig(pairs={"real": 1}), 64, "dlib")
    assert float(alone.sample(0, np.random.default_rng(0))["given"]["appearance"]) == 0  # plain reconstruction


@pytest.mark.parametrize("kind", ["reconstruction", "there_and_back"])
def test_samples_are_what_the_stages_take(dataset, kind):
    pairs = Pairs(Shards(dataset), [0], DataConfig(pairs={kind: 1}), 64, "dlib")
    one, again = (pairs.sample(0, np.random.default_rng(3)) for _ in range(2))
    for name in ("photo", "source", "draft"):
        assert one[name].shape == (3, 64, 64) and one[name].abs().max() <= 1.001
        assert torch.equal(one[name], again[name])
    assert one["region"].shape == one["weight"].shape == (1, 64, 64) and one["face"].shape == (128,)
    assert {name: float(value) for name, value in one["given"].items()} == {
        "normals": 1, "albedo": 1, "rendering": 1,
        "appearance": kind == "there_and_back", "coverage": kind == "there_and_back",
    }  # fmt: skip
    assert not torch.equal(one["source"], one["photo"])


def test_groups_are_balanced_by_the_power_asked_for(dataset):
    shards = Shards(dataset)
    shards.rows = [{"labels": {"group": "a"}}] * 9 + [{"labels": {"group": "b"}}]
    for balance, share in ((1.0, 0.1), (0.0, 0.5), (0.5, 0.25)):
        weights = Pairs(shards, list(range(10)), DataConfig(balance=balance), 64, "dlib").weights
        assert weights[9] / weights.sum() == pytest.approx(share)


def test_random_edits_stay_in_their_range_and_augmented_pictures_in_theirs():
    random, options = np.random.default_rng(0), DataConfig(turn=20, expression=1.0)
    edits = [random_edit(random, options) for _ in range(50)]
    assert max(abs(edit.turn) for edit in edits) <= 20 < 3 * max(abs(edit.turn) for edit in edits)
    assert all(edit.expression for edit in edits)
    assert 10 < sum(NEUTRAL in edit.expression for edit in edits) < 40
    aside = DataConfig(turn=5, to_front=1.0)
    turns = {yaw: [random_edit(random, aside, yaw).turn for _ in range(20)] for yaw in (-20.0, 5.0, 20.0)}
    assert all(0.6 < -turn / yaw < 1.4 for yaw in (-20.0, 20.0) for turn in turns[yaw])
    assert max(map(abs, turns[5.0])) <= 5
    picture = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    other = augment(picture, random)
    assert other.shape == picture.shape and other.abs().max() <= 1 and not torch.equal(other, picture)


def test_another_camera_changes_tone_and_grain_but_moves_nothing():
    photo = data.astronaut()
    taken = [another_camera(photo, np.random.default_rng(seed)) for seed in range(12)]
    assert all(picture.shape == photo.shape and picture.dtype == np.uint8 for picture in taken)
    assert np.array_equal(taken[0], another_camera(photo, np.random.default_rng(0)))
    means = np.array([picture.mean((0, 1)) for picture in taken])
    assert means.std(0).min() > 5 and np.abs(means / photo.mean((0, 1)) - 1).max() < 0.35
    grey = photo.mean(2, dtype=np.float32)
    shifts = [cv2.phaseCorrelate(picture.mean(2, dtype=np.float32), grey)[0] for picture in taken]
    assert np.abs(shifts).max() < 0.1
    energies = [cv2.Laplacian(picture.mean(2, dtype=np.float32), -1).std() for picture in taken]
    assert max(energies) > 1.5 * min(energies)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_share_of_photos_by_another_camera_is_as_asked(dataset, share):
    options = DataConfig(pairs={"reconstruction": 1}, other_camera=share, **AS_THEY_ARE)
    pairs = Pairs(Shards(dataset), [0], options, 64, "dlib")
    first, second = (pairs.make(0, np.random.default_rng(seed), None)["photo"] for seed in range(2))
    assert torch.equal(first, second) == (share == 0)


def test_a_person_before_another_background_is_the_same_person(dataset):
    face, (model, _) = Shards(dataset)[0].face, face_model("openhead")
    red = replace(face, photo=Photo(face.photo.pixels // 2 + np.uint8([100, 0, 0])))
    picture = other_background(face, red, model).frame_pixels.astype(int)
    change = np.abs(picture - face.working.frame_pixels).max(2)
    person = face.working.matte.person
    assert change[person > 0.99].max() <= 3 < 30 < np.median(change[person < 0.01])
    assert np.median(picture[person < 0.01], 0)[0] > np.median(picture[person < 0.01], 0)[2] + 50


def test_hair_is_laid_where_the_other_face_has_it(dataset):
    face, (model, _) = Shards(dataset)[0].face, face_model("openhead")
    pixels, hair = face.working.frame_pixels.astype(int), face.working.matte.hair
    assert np.abs(other_hair(face, face, model).pixels - pixels)[hair > 0.95].mean() < 2
    red = replace(face, photo=Photo(face.photo.pixels // 2 + np.uint8([100, 0, 0])))
    change = np.abs(other_hair(face, red, model).pixels - pixels).max(2)
    assert np.median(change[hair > 0.95]) > 30 and np.median(change[hair < 0.01]) == 0


def test_what_is_held_covers_a_part_of_the_face_from_the_nose_down(dataset):
    face = Shards(dataset)[0].face
    pixels = face.working.frame_pixels.astype(int)
    for seed in range(10):
        changed = np.abs(held_before(face, np.random.default_rng(seed)).pixels - pixels).max(2) > 20
        rows = np.flatnonzero(changed.any(1)) / len(changed)
        assert 0 < changed.mean() < 0.25 and rows.mean() > 0.4


def test_exchanged_photos_make_pairs(dataset):
    options = DataConfig(pairs={"reconstruction": 1}, other_camera=0, other_background=1, other_hair=1, held_before=1)
    as_it_is = options.model_copy(update=AS_THEY_ARE)
    changed, plain = (
        Pairs(Shards(dataset), [0], o, 64, "dlib").make(0, np.random.default_rng(0), None) for o in (options, as_it_is)
    )
    assert changed["photo"].shape == plain["photo"].shape and not torch.equal(changed["photo"], plain["photo"])


def test_a_folder_without_a_dataset_is_named(tmp_path):
    with pytest.raises(InstaFaceError, match="instaface prepare"):
        Shards(tmp_path)
    with pytest.raises(InstaFaceError, match="no such folder"):
        prepare(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(InstaFaceError, match="no photo in it"):
        prepare(tmp_path, tmp_path / "out")


def test_samples_made_in_advance_are_those_made_while_training(dataset, tmp_path):
    config = TrainingConfig(model=tiny_config(), data=DataConfig(pairs={"there_and_back": 1}))
    assert make_samples(dataset, config, tmp_path / "samples", per_face=2, jobs=1) == 2
    index = Shards(tmp_path / "samples")
    assert [row["key"] for row in index.rows] == ["astronaut~0", "astronaut~1"]
    stored = unpack_sample(read_files(index.folder, index.rows[1]))
    made = Pairs(Shards(dataset), [0], config.data, 64, "dlib").make(0, np.random.default_rng((0, 1)), None)
    assert stored.keys() == made.keys() and stored["maps"].keys() == made["maps"].keys()
    for name in ("photo", "draft", "source", "region", "weight"):
        assert stored[name].shape == made[name].shape
        assert (stored[name] - made[name]).abs().mean() < 0.03
    for name, value in stored["maps"].items():
        assert (value - made["maps"][name]).abs().mean() < 0.04, name
    assert torch.equal(stored["face"], made["face"])

    row = index.rows[0]
    splits = {"training": 4, "validation": 2}
    rows = [{**row, "labels": {"split": split}} for split, count in splits.items() for _ in range(count)]
    (tmp_path / "samples" / "index.json").write_text(json.dumps(rows))
    options = config.model_copy(update={"stage1": tiny_training().stage1})
    training, validation = sources("1", options, tmp_path / "samples")
    assert (len(training), len(validation)) == (4, 2)
    assert training.sample(3, np.random.default_rng(0))["source"].shape == (3, 64, 64)
    other = {"model": tiny_config(convention="caphuman"), "data": DataConfig(mirrored=0.5)}
    with pytest.raises(InstaFaceError, match=r"data\.mirrored"):
        sources("1", options.model_copy(update=other), tmp_path / "samples")


def test_a_sample_in_a_mirror_is_that_of_the_mirrored_photo(dataset):
    pairs = Pairs(
        Shards(dataset), [0], DataConfig(pairs={"there_and_back": 1}, other_camera=0, **AS_THEY_ARE), 64, "dlib"
    )
    plain = pairs.make(0, np.random.default_rng(0), None)
    seen = mirrored_sample(plain)
    for name in ("photo", "draft", "source", "region", "weight"):
        assert torch.equal(seen[name].flip(-1), plain[name])
        assert name == "weight" or not torch.equal(seen[name], plain[name])
    # Normals of a face that looks at the camera point to the right at its right half, in the mirror as well.
    for sample in (plain, seen):
        x = sample["maps"]["normals"][0]
        assert x[:, 40:].sum() > 0 > x[:, :24].sum()
    again = mirrored_sample(seen)
    assert all(torch.equal(again["maps"][name], value) for name, value in plain["maps"].items())


def test_photos_that_are_left_out_do_not_move_others_into_training(photos, tmp_path):
    face, folder = (photos / "astronaut.png").read_bytes(), tmp_path / "in"
    folder.mkdir()
    for number in range(20):
        (folder / f"{number:02}.png").write_bytes(face if number in (1, 18, 19) else b"")
    assert prepare(folder, tmp_path / "out", size=256, jobs=1) == 3
    shards = Shards(tmp_path / "out")
    assert shards.numbers("training") == [0, 2] and shards.numbers("validation") == [1]
    (folder / "labels.csv").write_text("file,split\n01.png,training\n18.png,training\n19.png,training\n")
    assert prepare(folder, tmp_path / "other", size=256, labels=folder / "labels.csv", jobs=1) == 3
    with pytest.raises(InstaFaceError, match="none of its 3 faces is for validation"):
        sources("1", tiny_training(), tmp_path / "other")


def test_maps_rendered_where_the_networks_train_are_those_rendered_with_the_pairs(dataset):
    kinds = DataConfig(pairs={"reconstruction": 1, "there_and_back": 1}, other_camera=0, **AS_THEY_ARE)
    samples = {}
    for device_maps in (False, True):
        options = kinds.model_copy(update={"device_maps": device_maps})
        pairs = Pairs(Shards(dataset), [0], options, 128, "dlib")
        samples[device_maps] = default_collate([pairs.sample(0, np.random.default_rng(k)) for k in (2, 1)])
    assert samples[True]["given"]["appearance"].tolist() == [1, 0]  # one sample of each kind
    assert samples[True]["maps"].keys() == {"appearance", "coverage"}
    batch = DeviceMaps(pairs.face_model, torch.device("cpu"))(samples[True])
    assert batch.keys() == samples[False].keys() and batch["maps"].keys() == samples[False]["maps"].keys()
    for name, expected in samples[False]["maps"].items():
        difference = (batch["maps"][name] - expected).abs()
        assert difference.mean() < 1e-4 and (difference > 0.02).float().mean() < 1e-3, name
    with pytest.raises(InstaFaceError, match="device_maps"):
        Pairs(Shards(dataset), [0], options, 128, "dlib", "arc2face")


def test_rendered_maps_follow_a_camera_whose_middle_is_elsewhere():
    model = OpenHead.load()
    parameters, camera = model.neutral(), Camera(focal=200.0, center=(50.0, 70.0), width=128, height=96)
    batch = {"view": default_collate([view_of(parameters, camera)]), "maps": {}}
    found = DeviceMaps(model.name, torch.device("cpu"))(batch)["maps"]
    for name, expected in render_maps(model, parameters, camera).for_network().items():
        assert np.abs(found[name][0].numpy() - expected).mean() < 1e-4, name


def test_a_stage_trains_on_maps_that_it_renders(dataset, tmp_path):
    config = tiny_training(steps=2, batch=2, micro_batch=2, validation_steps=2, validation_samples=1)
    losses = []
    for device_maps in (False, True):
        options = DataConfig(pairs={"reconstruction": 1}, device_maps=device_maps)
        pairs = Pairs(Shards(dataset), [0], options, config.model.size, "dlib")
        train(config, "1", pairs, pairs, tmp_path / str(device_maps))
        events = EventAccumulator(str(tmp_path / str(device_maps) / "logs"))
        events.Reload()
        losses.append([event.value for event in events.Scalars("loss")])
    np.testing.assert_allclose(*losses, rtol=1e-3)
