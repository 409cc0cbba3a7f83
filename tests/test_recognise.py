"""Recognisers: alignment, unit embeddings, and the same person told from another."""

import numpy as np
import pytest
import skimage.data

from instaface.errors import InstaFaceError
from instaface.recognise import load_recogniser
from instaface.recognise.align import crop_similarity, similarity_transform
from instaface.recognise.arcface import ArcFace
from instaface.recognise.dlib_resnet import weights
from instaface.recognise.recogniser import unit


@pytest.fixture(scope="module")
def dlib():
    return load_recogniser("dlib")


@pytest.fixture(scope="module")
def astronaut():
    return skimage.data.astronaut()


def test_a_known_similarity_is_found_exactly():
    points = np.random.default_rng(0).uniform(0, 100, (5, 2))
    angle, scale, shift = np.deg2rad(25), 0.7, np.array([12.0, -3.0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = similarity_transform(points, scale * points @ turn.T + shift)
    np.testing.assert_allclose(matrix, np.column_stack([scale * turn, shift]), atol=1e-9)


@pytest.mark.parametrize("scale", [1.0, 1.5, 4.0])
def test_a_crop_lies_where_the_points_say(scale):
    """Each pixel of a crop of a ramp shows the place that its centre comes from, to a tenth of a pixel."""
    size = round(60 * scale)
    slope = 240 / size
    pixels = np.rint(np.broadcast_to(slope * (np.arange(size) + 0.5)[None, :, None], (size, size, 3))).astype(np.uint8)
    points = np.array([[10.0, 10], [50, 10], [50, 50], [10, 50]]) * scale
    template = np.array([[0.0, 0], [40, 0], [40, 40], [0, 40]])
    crop = crop_similarity(pixels, points, template, 40)[20, :, 0]
    assert crop.mean() / slope / scale == pytest.approx(30, abs=0.1)
    assert np.diff(crop.astype(float)).mean() / slope / scale == pytest.approx(1, abs=0.02)


def test_embeddings_are_unit_vectors_and_survive_mirroring_and_size(dlib, astronaut):
    points = dlib.find_points(astronaut)
    mirrored = np.ascontiguousarray(astronaut[:, ::-1])
    large = astronaut.repeat(3, 0).repeat(3, 1)
    faces = [
        dlib.embed_face(astronaut, points),
        dlib.embed_face(mirrored, dlib.find_points(mirrored)),
        dlib.embed_face(large, 3 * points),
    ]
    assert faces[0].shape == (dlib.dimension,) and faces[0].dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(faces, axis=1), 1, atol=1e-5)
    assert dlib.similarity(faces[0], faces[1]) > 0.96
    assert dlib.similarity(faces[0], faces[2]) > 0.99


def test_the_network_gives_what_dlib_does(dlib, astronaut):
    import dlib as original

    aligned = dlib.align(astronaut, dlib.find_points(astronaut))
    faces = np.stack([aligned, aligned[:, ::-1]])
    wanted = original.face_recognition_model_v1(str(weights())).compute_face_descriptor([*faces])
    np.testing.assert_allclose(dlib.embed(faces), unit(np.array(wanted)), atol=1e-5)


def test_another_face_is_not_the_same_person(dlib, astronaut):
    """Stretching the features apart makes another face; a flat grey picture is none at all."""
    points = dlib.find_points(astronaut)
    face = dlib.embed_face(astronaut, points)
    stretched = points.copy()
    stretched[4, 1] += 0.8 * (points[4, 1] - points[:4, 1].mean())  # the crop now squeezes and shrinks the face
    assert dlib.similarity(face, dlib.embed_face(astronaut, stretched)) < dlib.similarity(face, face) - 0.01
    grey = dlib.embed(np.full((1, dlib.size, dlib.size, 3), 128, np.uint8))[0]
    assert dlib.similarity(face, grey) < dlib.threshold


def test_faces_of_other_people_are_less_alike(dlib, shared_data):
    from skimage.io import imread

    photos = [imread(shared_data / "faces" / f"{number:04d}.jpg") for number in (0, 1800, 3582)]
    faces = np.array([dlib.embed_face(photo, dlib.find_points(photo)) for photo in photos])
    blurred = photos[0][::2, ::2]
    again = dlib.embed_face(blurred, dlib.find_points(photos[0]) / 2)
    assert dlib.similarity(faces[0], again) > max(dlib.similarity(faces[0], faces[1:])) + 0.02


def test_face_mesh_points_are_the_templates_points(dlib):
    """A Face Mesh whose five points lie on the template is aligned without a change."""
    landmarks = np.zeros((478, 2))
    landmarks[[263, 362, 33, 133, 2]] = dlib.template
    pixels = np.random.default_rng(0).integers(0, 255, (150, 150, 3), np.uint8)
    np.testing.assert_array_equal(dlib.align(pixels, landmarks), pixels)
    with pytest.raises(ValueError, match="478"):
        dlib.align(pixels, landmarks[:68])


def test_clear_errors(dlib, tmp_path):
    with pytest.raises(InstaFaceError, match="choose one of dlib, arcface"):
        load_recogniser("facenet")
    with pytest.raises(InstaFaceError, match="no face found"):
        dlib.find_points(np.zeros((80, 80, 3), np.uint8))
    with pytest.raises(InstaFaceError, match=r"missing.onnx is not there"):
        ArcFace(tmp_path / "missing.onnx")
