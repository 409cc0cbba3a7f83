"""``instaface assets`` and ``--face-model flame``, in-process."""

import json
import os
import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import flame_files as files
from instaface.cli.app import app
from instaface.diffusion.pipeline import InstaFacePipeline
from instaface.edit import Edit
from instaface.track.deca_networks import DetailDecoder, Encoder
from instaface.track.models import face_model
from instaface.training.config import dump_config
from test_cli import error_line, run  # noqa: F401
from tiny_model import tiny_config, tiny_networks
from tiny_training import tiny_training


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTAFACE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_add_list_verify_remove(run, home, tmp_path):  # noqa: F811
    folder = tmp_path / "downloads"
    folder.mkdir()
    files.write_mediapipe(folder / "whatever.bin")
    files.write_template(folder / "head.obj")
    (folder / "readme.txt").write_text("hello")
    status, out, err = run("assets", "add", folder)
    assert status == 0 and "readme.txt: left out" in err
    assert "flame-uv: FLAME's texture coordinates" in out and "licence  Max Planck" in out and "SHA-256" in out
    status, out, _ = run("assets", "list")
    assert status == 0 and f"{home / 'assets'}: 2 files" in out
    assert run("assets", "verify")[0] == 0
    with next((home / "assets").glob("flame-uv-*.safetensors")).open("ab") as file:
        file.write(b"x")
    status, out, err = run("assets", "verify")
    assert status == 1 and "flame-uv: the converted file was changed" in out and "1 file damaged" in error_line(err)
    assert run("assets", "remove", "flame-uv", "flame-mediapipe")[0] == 0
    assert run("assets", "list")[1].strip().endswith("0 files")
    status, _, err = run("assets", "remove", "deca")
    assert status == 1 and "no 'deca' was added" in error_line(err)


def test_flames_folder_holds_three_models_of_which_one_is_meant(run, home, tmp_path):  # noqa: F811
    folder = tmp_path / "FLAME2020"
    folder.mkdir()
    generic = files.write_flame(folder / "generic_model.pkl")
    for name in ("female_model.pkl", "male_model.pkl"):
        shutil.copy(generic, folder / name)
    files.write_mediapipe(folder / "m.npz")
    status, out, err = run("assets", "add", folder)
    assert status == 1 and "flame-mediapipe" in out and "flame:" not in out
    assert "male_model.pkl are of one kind" in error_line(err) and f"{generic} for DECA" in err
    status, out, _ = run("assets", "add", generic, generic)
    assert status == 0 and out.count("flame:") == 1 and "generic_model.pkl, SHA-256" in out


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def test_bad_files_are_told_in_one_line(run, home, tmp_path):  # noqa: F811
    evil = tmp_path / "generic_model.pkl"
    evil.write_bytes(pickle.dumps({"v_template": Evil(tmp_path / "harm")}, 2))
    status, out, err = run("assets", "add", evil)
    assert status == 1 and out == "" and "refused" in error_line(err) and "posix.system" in err
    assert not (tmp_path / "harm").exists()
    status, _, err = run("assets", "add", tmp_path / "none.pkl")
    assert status == 1 and "give an existing file" in error_line(err)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0 no model")
    status, _, err = run("assets", "add", tmp_path / "photo.jpg")
    assert status == 1 and "not a file InstaFace knows" in error_line(err)


def test_flame_without_files_says_what_to_add(run, home, tmp_path):  # noqa: F811
    photo = tmp_path / "a.png"
    Image.new("RGB", (64, 64)).save(photo)
    status, _, err = run("inspect", photo, "--face-model", "flame")
    assert status == 1 and "generic_model.pkl" in error_line(err) and "instaface assets add" in err
    assert run("inspect", photo, "--face-model", "smpl")[0] == 2


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """A photo, and a data folder with FLAME and DECA whose network always sees the same frontal face."""
    from skimage.data import astronaut

    from instaface import assets

    tmp_path = tmp_path_factory.mktemp("stack")
    model, embedding = files.head_like()
    downloads = [
        files.write_flame(tmp_path / "generic_model.pkl", model),
        files.write_template(tmp_path / "head_template.obj"),
        files.write_landmarks(tmp_path / "landmark_embedding.npy", embedding),
        files.write_texture(tmp_path / "FLAME_texture.npz", bfm=False, components=50),
        tmp_path / "deca_model.tar",
    ]
    torch.manual_seed(0)
    coarse = Encoder(236)
    coarse.layers[2].weight.data.zero_()
    answer = torch.zeros(236)
    answer[206:209] = torch.tensor([8.0, 0.0, 0.0])
    answer[209:212] = 3.0
    coarse.layers[2].bias.data = answer
    networks = {"E_flame": coarse, "E_detail": Encoder(128), "D_detail": DetailDecoder()}
    torch.save({name: network.state_dict() for name, network in networks.items()}, downloads[-1])
    photo = tmp_path / "astronaut.png"
    Image.fromarray(astronaut()[:320, 60:380]).save(photo)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSTAFACE_HOME", str(tmp_path / "home"))
        for path in downloads:
            assets.add(path)
        yield photo


def test_inspect_and_edit_with_flame(run, stack, tmp_path):  # noqa: F811
    photo = stack
    status, out, err = run("inspect", photo, "--face-model", "flame", "--json", "--draw", tmp_path / "drawn.png")
    assert status == 0, err
    (face,) = json.loads(out)["faces"]
    assert face["model"] == "flame" and face["head"]["yaw"] == 0 and (tmp_path / "drawn.png").exists()
    options = ["--turn", "15", "--expression", "smile", "--face-model", "flame", "--report", tmp_path / "report.json"]
    status, _, err = run("edit", photo, "-o", tmp_path / "out.png", *options, "--maps", tmp_path / "maps")
    assert status == 0, err
    report = json.loads((tmp_path / "report.json").read_text())
    assert "mouthSmileLeft" in json.dumps(report) and Image.open(tmp_path / "out.png").size == (320, 320)


def test_the_evaluated_editor_may_have_another_face_model(stack, tmp_path):
    from instaface.evaluation.cases import Case
    from instaface.evaluation.systems import SystemOptions, open_system
    from instaface.track import track

    options = SystemOptions(face_model="flame")
    assert options.name == "geometric flame"
    (source,) = track(stack)
    case = Case(stack, "turn", Edit(turn=15))
    target = source.parameters.replace(head=source.parameters.head + np.array([[15, 0, 0]], np.float32))
    turned = open_system(options).render(source, case, target).pixels
    assert turned.shape == source.photo.pixels.shape and (turned != source.photo.pixels).any()
    kept = open_system(options).render(source, Case(stack, "zero", Edit()), source.parameters).pixels
    assert (kept == source.photo.pixels).all()
    driven = open_system(options).render(source, Case(stack, "self", driver=stack), target).pixels
    assert (driven == source.photo.pixels).all()  # the face drives itself


def test_datasets_and_pairs_may_have_another_face_model(stack, monkeypatch):
    from instaface.training.pairs import there_and_back
    from instaface.training.prepare import prepare_photo
    from instaface.training.shards import unpack

    monkeypatch.setenv("INSTAFACE_HOME", str(stack.parent / "home"))
    ((key, packed),) = prepare_photo(stack, 192, (), face_model="flame")
    face = unpack(key, packed).face
    model, _ = face_model(face.model)
    assert model.name == "flame" and face.parameters.expression.shape[1] == len(model.expression_names)
    pair = there_and_back(face, Edit(turn=10), model)
    assert pair is not None and pair.drawn_face.model == "flame"
    assert pair.parameters.head[0, 0] == face.parameters.head[0, 0]


@pytest.fixture(scope="module")
def trained(stack, tmp_path_factory):
    """A dataset of FLAME's parameters, and a tiny model that takes maps as CapHuman's, trained on it a little."""
    folder = tmp_path_factory.mktemp("trained")
    photos = folder / "photos"
    photos.mkdir()
    for name in ("a", "b"):
        Image.open(stack).save(photos / f"{name}.png")
    (folder / "labels.csv").write_text("file,split\na.png,training\nb.png,validation\n")
    identity = {**tiny_config().identity, "face_width": 128}
    model = tiny_config(identity=identity, convention="caphuman")
    few = {"steps": 1, "batch": 2, "micro_batch": 2, "checkpoint_steps": 1, "validation_steps": 1, "warmup_steps": 0}
    training = tiny_training(**few, validation_samples=1).model_copy(update={"model": model})
    (folder / "tiny.yaml").write_text(dump_config(training))
    networks = vars(tiny_networks(identity=identity, convention="caphuman"))
    pipeline = InstaFacePipeline(**networks, size=64, steps=2, strength=0.6, convention="caphuman")
    pipeline.save_pretrained(folder / "start")
    output = ("-o", folder / "run", "--init", folder / "start")
    commands = [
        (
            "prepare",
            photos,
            "-o",
            folder / "dataset",
            "--labels",
            folder / "labels.csv",
            "--size",
            128,
            "--face-model",
            "flame",
            "-j",
            1,
        ),
        ("pairs", folder / "dataset", "-o", folder / "pairs", "--config", folder / "tiny.yaml", "-j", 1),
        ("train", "--stage", "1", "--config", folder / "tiny.yaml", "--data", folder / "dataset", *output),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSTAFACE_HOME", str(stack.parent / "home"))
        for command in commands:
            result = CliRunner().invoke(app, [str(word) for word in command], catch_exceptions=False)
            assert result.exit_code == 0, result.output
    return folder


def test_prepare_pairs_and_train_run_with_flame(trained):
    from instaface.training.shards import Shards

    for row in Shards(trained / "pairs").rows:
        assert {"photo.jpg", "source.jpg"} & set(row["files"]), row["files"]
    face = Shards(trained / "dataset")[0].face
    assert face.model == "flame" and face.parameters.identity.shape == (1, 100)
    before, after = (InstaFacePipeline.from_pretrained(trained / name) for name in ("start", "run/model"))
    assert after.config.convention == "caphuman"
    changed = [
        not torch.equal(a, b)
        for a, b in zip(before.guidance_network.parameters(), after.guidance_network.parameters(), strict=True)
    ]
    assert any(changed)


def test_the_diffusion_renderer_and_a_personal_model_run_with_flame(run, stack, trained, tmp_path, monkeypatch):  # noqa: F811
    from instaface.training import personalize

    monkeypatch.setenv("INSTAFACE_HOME", str(stack.parent / "home"))
    monkeypatch.setattr(personalize, "SAMPLES", 1)
    model, flame = trained / "run" / "model", ("--face-model", "flame")
    adapter = tmp_path / "me.safetensors"
    options = ("--model", model, "--config", trained / "tiny.yaml", *flame)
    status, _, err = run("personalize", stack, "-o", adapter, *options)
    assert status == 0 and adapter.stat().st_size > 1000, err
    pictures = []
    for name, more in {"plain": (), "personal": ("--personal", adapter)}.items():
        out = tmp_path / f"{name}.png"
        asked = ("--turn", "12", "--renderer", "diffusion", "--model", model, *more, *flame)
        status, _, err = run("edit", stack, "-o", out, *asked)
        assert status == 0, err
        pictures.append(np.asarray(Image.open(out)))
    photo = np.asarray(Image.open(stack).convert("RGB"))
    assert pictures[0].shape == photo.shape and (pictures[0] != photo).any()
    assert (pictures[0] == photo).all(-1).mean() > 0.2  # pixels that the edit does not concern


@pytest.mark.parametrize("renderer", ["geometric", "diffusion"])
def test_evaluate_runs_with_flame(renderer, run, stack, trained, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setenv("INSTAFACE_HOME", str(stack.parent / "home"))
    grid = tmp_path / "grid.yaml"
    grid.write_text("turn: {turn: 10}\n")
    options = ("--limit", 1, "--edits", grid, "--protocol", "control", "--face-model", "flame", "-j", 1)
    if renderer == "diffusion":
        options += ("--renderer", "diffusion", "--model", trained / "run" / "model")
    status, _, err = run("evaluate", stack, "-o", tmp_path / "report", *options)
    assert status == 0, err
    metrics = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert metrics["zero"] == {"n": 1, "exact": 1} and "flame" in metrics["system"]
    assert metrics["system"].startswith("geometric" if renderer == "geometric" else "diffusion")
