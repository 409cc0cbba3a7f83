"""The tracker on photos: what it finds, and that nothing makes it fall over."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from instaface.track import TrackedFace, track
from instaface.track.detect import Detection, _tiles, _turned_back, detect, suppress
from instaface.track.landmarks import find_landmarks
from instaface.track.matte import frame_of, matte
from instaface.track.tracked import WORKING


@pytest.fixture(scope="module")
def astronaut() -> NDArray[np.uint8]:
    from skimage import data

    return data.astronaut()


@pytest.fixture(scope="module")
def face(astronaut: NDArray[np.uint8]) -> TrackedFace:
    (face,) = track(astronaut)
    return face


def test_numbers_of_a_portrait_are_plausible(face: TrackedFace) -> None:
    x0, y0, x1, y1 = face.box
    assert 150 < x0 < 200 < 250 < x1 < 300 and 50 < y0 < 80 and 160 < y1 < 200
    weights = dict(zip(face_expression_names(), face.parameters.expression[0].tolist(), strict=True))
    assert weights["mouthSmileLeft"] > 0.3 and weights["mouthSmileRight"] > 0.3
    assert weights["jawOpen"] < 0.3 and weights["eyeBlinkLeft"] < 0.4
    assert abs(face.parameters.head[0, 0]) < 25 and abs(face.parameters.head[0, 1]) < 25
    assert np.abs(face.parameters.identity).max() <= 3
    assert face.fit_error < 2
    assert np.isfinite(face.parameters.light).all() and face.parameters.light[0, 0].min() > 0


def face_expression_names() -> tuple[str, ...]:
    from instaface.face import OpenHead

    return OpenHead.load().expression_names


def test_matte_separates_person_and_hair(face: TrackedFace) -> None:
    person, hair, frame = face.matte.person, face.matte.hair, face.frame
    assert person.shape == hair.shape == face.working.frame_pixels.shape[:2]
    assert person.dtype == hair.dtype == np.float32
    assert person.min() >= 0 and person.max() <= 1 and (hair <= person).all()

    def at(mask: NDArray[np.float32], x: int, y: int) -> float:
        scale = len(mask) / frame.height
        return float(mask[int((y - frame.y) * scale), int((x - frame.x) * scale)])

    assert at(person, 225, 120) > 0.99 and at(hair, 225, 140) < 0.02  # face
    assert at(person, 225, 25) > 0.9 and at(hair, 225, 25) > 0.8  # hair above the forehead
    assert at(person, 320, 60) < 0.05  # wall


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_turned_photo_gives_a_rolled_head(astronaut: NDArray[np.uint8], quarters: int) -> None:
    (face,) = track(np.ascontiguousarray(np.rot90(astronaut, quarters)))
    upright = track(astronaut)[0].parameters.head[0, 2]
    turned = (face.parameters.head[0, 2] - upright + 90 * quarters + 180) % 360 - 180  # rot90 turns anticlockwise
    assert abs(turned) < 4


def test_a_large_photo_that_lies_gives_the_same_box_as_a_small_one(astronaut: NDArray[np.uint8]) -> None:
    import cv2

    lying = np.ascontiguousarray(np.rot90(astronaut))
    pictures = lying, cv2.resize(lying, (1536, 1536), interpolation=cv2.INTER_CUBIC)
    small, large = (max(detect(picture), key=lambda face: face.score) for picture in pictures)
    assert np.abs(np.array(large.box) / 3 - small.box).max() < 12


def test_collage_gives_every_face_once_largest_first(astronaut: NDArray[np.uint8]) -> None:
    import cv2

    head = astronaut[:256, 96:352]
    collage = np.full((512, 1024, 3), 90, np.uint8)
    collage[:256, :256] = head
    collage[256:, 256:512] = head[:, ::-1]
    collage[:, 512:] = cv2.resize(head, (512, 512))
    faces = track(collage)
    assert len(faces) == 3
    assert [face.index for face in faces] == [0, 1, 2]
    assert faces[0].box[0] > 512 and all(face.box[2] < 520 for face in faces[1:])
    assert len(track(collage, faces=1)) == 1


def test_small_face_in_a_large_photo(astronaut: NDArray[np.uint8]) -> None:
    import cv2

    photo = np.full((2000, 3000, 3), 120, np.uint8)
    photo[1500:1756, 2300:2556] = cv2.resize(astronaut, (256, 256), interpolation=cv2.INTER_AREA)  # 50 pixels of face
    (face,) = track(photo)
    assert 2380 < face.box[0] < face.box[2] < 2450


def test_a_face_at_the_border(astronaut: NDArray[np.uint8]) -> None:
    (face,) = track(np.ascontiguousarray(astronaut[80:300, 190:330]))  # cuts forehead and one cheek
    assert face.frame.x >= 0 and face.frame.x + face.frame.width <= 140
    assert face.matte.person.shape == face.working.frame_pixels.shape[:2]


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (7, 5), (64, 64)])
def test_no_face_gives_an_empty_list(shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    assert track(noise) == []
    assert track(np.zeros_like(noise)) == []


def test_scale_of_the_photo_does_not_change_the_numbers(astronaut: NDArray[np.uint8], face: TrackedFace) -> None:
    import cv2

    (double,) = track(cv2.resize(astronaut, (1024, 1024), interpolation=cv2.INTER_CUBIC))
    assert np.abs(double.parameters.head - face.parameters.head).max() < 1.5
    assert np.abs(double.parameters.translation - face.parameters.translation).max() < 3
    assert max(double.matte.person.shape) <= WORKING


def test_landmarks_are_none_where_there_is_no_face(astronaut: NDArray[np.uint8]) -> None:
    wall = Detection((380.0, 400.0, 500.0, 510.0), np.float32([[410, 440], [470, 440]]), 0.9)
    assert find_landmarks(astronaut, wall) is None


def test_suppression_keeps_the_most_confident_and_orders_by_size() -> None:
    eyes = np.zeros((2, 2), np.float32)
    weak, strong = Detection((0, 0, 10, 10), eyes, 0.6), Detection((1, 1, 11, 11), eyes, 0.9)
    large = Detection((50, 50, 90, 90), eyes, 0.7)
    assert suppress([weak, strong, large]) == [large, strong]


@pytest.mark.parametrize("size", [(4000, 3000), (900, 700), (12000, 500)])
def test_tiles_cover_the_photo(size: tuple[int, int]) -> None:
    covered = np.zeros((size[1] // 10, size[0] // 10), int)
    for x, y, side in _tiles(*size):
        covered[y // 10 : -(-(y + side) // 10), x // 10 : -(-(x + side) // 10)] += 1
    assert (covered > 0).all()


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_points_turn_back_with_the_picture(quarters: int) -> None:
    picture = np.zeros((5, 8), int)
    picture[1, 6] = 1
    row, column = np.argwhere(np.rot90(picture, quarters))[0]
    back = _turned_back(np.float32([[column + 0.5, row + 0.5]]), quarters, 8, 5)
    assert back.tolist() == [[6.5, 1.5]]


def test_detect_finds_nothing_twice(astronaut: NDArray[np.uint8]) -> None:
    assert len(detect(astronaut)) == 1


def test_frame_stays_inside_the_photo() -> None:
    landmarks = np.random.default_rng(0).uniform(-50, 60, (478, 2)).astype(np.float32)
    frame = frame_of(landmarks, 40, 30)
    assert (frame.x, frame.y, frame.width, frame.height) == (0, 0, 40, 30)
    far = frame_of(landmarks + 1000, 4000, 4000)
    assert far.width == far.height == pytest.approx(3 * 110, abs=3)


def test_masks_of_large_frames_have_the_working_resolution(astronaut: NDArray[np.uint8], face: TrackedFace) -> None:
    import cv2

    frame = face.frame
    points = face.landmarks - np.float32([frame.x, frame.y])
    factor = 5
    large = cv2.resize(face.frame_pixels, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    person = matte(large, points * factor).person
    assert max(person.shape) == WORKING
    small = cv2.resize(person, face.matte.person.shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(small - face.matte.person).mean() < 0.03


def test_strands_before_a_plain_wall_are_found_and_grain_is_not() -> None:
    import cv2

    from instaface.track.matte import strands

    rng = np.random.default_rng(0)
    picture = 200 + rng.normal(0, 2, (256, 256, 3))
    person = np.zeros((256, 256), np.float32)
    cv2.circle(person, (128, 128), 60, (1.0,), -1, cv2.LINE_AA)
    strand = np.zeros_like(person)
    for angle in np.linspace(0, 2 * np.pi, 12, endpoint=False):
        ends = [(int(128 + r * np.cos(angle)), int(128 + r * np.sin(angle))) for r in (55, 72)]
        cv2.line(strand, *ends, (0.7,), 1, cv2.LINE_AA)
    alone = np.zeros_like(person)
    cv2.line(alone, (20, 20), (50, 20), (0.7,), 1)
    opacity = np.maximum(person, np.maximum(strand, alone))[..., None]
    picture = (picture + opacity * ([40, 30, 25] - picture)).clip(0, 255).astype(np.uint8)
    found = strands(picture, person, person)
    outside = cv2.erode((person < 0.01).astype(np.uint8), np.ones((5, 5))) > 0
    on, off = outside & (strand > 0.3), outside & (cv2.dilate(strand, np.ones((5, 5))) == 0)
    assert on.sum() > 50 and np.abs(found - strand)[on].mean() < 0.1
    assert (found[off] > 0.05).mean() < 0.001 and (found[alone > 0] == 0).all()
