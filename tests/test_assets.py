"""The user's files: recognised, converted, and nothing in them ever run."""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

import flame_files as files
from instaface import assets
from instaface.assets import checkpoints, kinds, pickles
from instaface.assets.kinds import KINDS, detail_layout, recognise, resnet50_layout
from instaface.errors import InstaFaceError


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("INSTAFACE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


# --- honest files ---


def test_a_chumpy_pickle_is_read_without_chumpy(tmp_path):
    path = files.write_flame(tmp_path / "generic_model.pkl")
    with pytest.raises(ModuleNotFoundError, match="chumpy"):
        pickle.loads(path.read_bytes(), encoding="latin1")  # what users meet today
    entry = assets.add(path)
    assert (entry.kind, entry.notes) == ("flame", [])
    assert entry.facts == {"bs_style": "lbs", "bs_type": "lrotmin"}
    arrays, _ = assets.load("flame")
    model = files.flame()
    for key, original in (
        ("template", "v_template"),
        ("faces", "f"),
        ("shape_basis", "shapedirs"),
        ("pose_basis", "posedirs"),
        ("joint_regressor", "J_regressor"),
        ("skinning", "weights"),
    ):
        np.testing.assert_allclose(arrays[key], model[original], rtol=1e-6, atol=1e-9)
    assert arrays["parents"].tolist() == [-1, 0, 1, 1, 1]


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_every_protocol_gives_the_same_arrays(protocol):
    value = {"a": np.arange(6.0).reshape(2, 3).T, "b": np.float32(2), "c": {1, 2}, "d": np.arange(3, dtype=">i4")}
    read = pickles.load(io.BytesIO(pickle.dumps(value, protocol)), pickles.NUMPY, "x")
    np.testing.assert_array_equal(read["a"], value["a"])
    np.testing.assert_array_equal(read["d"], [0, 1, 2])
    assert read["b"] == 2 and read["c"] == {1, 2}


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_of_both_formats_agree_with_torch(tmp_path, zipped):
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    strided = torch.arange(12).reshape(3, 4).T[1:]
    content = {"net": network.state_dict(), "strided": strided, "epoch": 3, "half": torch.ones(2).half()}
    path = tmp_path / "checkpoint.tar"
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    read = checkpoints.read_zip(path) if zipped else checkpoints.read_legacy(path.open("rb"), path.name)
    assert checkpoints.is_legacy(path) != zipped
    assert list(read["net"]) == list(content["net"]) and read["epoch"] == 3
    for key, value in content["net"].items():
        np.testing.assert_array_equal(read["net"][key], value.numpy())
    np.testing.assert_array_equal(read["strided"], strided.numpy())
    np.testing.assert_array_equal(read["half"], [1, 1])


def test_chumpy_selections_and_numpy_texts_are_read(tmp_path):
    handmade = (
        b"\x80\x02cchumpy.reordering\nSelect\n)\x81}(U\x01acchumpy.ch\nCh\n)\x81}U\x01x%ssb"
        b"U\x04idxs%sU\x0fpreferred_shapeK\x02K\x01\x86ub."
    )
    values, chosen = (pickle.dumps(a, 2)[2:-1] for a in (np.arange(6.0), np.array([4, 1])))
    read = pickles.load(io.BytesIO(handmade % (values, chosen)), pickles.FLAME, "x")
    np.testing.assert_array_equal(read, [[4.0], [1.0]])
    text = pickles.load(io.BytesIO(pickle.dumps(np.array(b"lbs")[()], 2)), pickles.FLAME, "x")
    assert text in (b"lbs", "lbs")


def test_landmarks_with_torch_tensors_inside(tmp_path):
    entry = assets.add(files.write_landmarks(tmp_path / "landmark_embedding.npy"))
    assert (entry.kind, entry.notes) == ("flame-landmarks", [])
    arrays, _ = assets.load("flame-landmarks")
    expected = files.landmarks()
    np.testing.assert_array_equal(arrays["dynamic_faces"], expected["dynamic_lmk_faces_idx"].numpy())
    np.testing.assert_allclose(arrays["static_bary"], expected["static_lmk_bary_coords"], rtol=1e-6)


@pytest.mark.parametrize("bfm", [False, True])
def test_textures_become_rgb_as_deca_samples_them(tmp_path, bfm):
    entry = assets.add(files.write_texture(tmp_path / "texture.npz", bfm))
    arrays, facts = assets.load("bfm-texture" if bfm else "flame-texture")
    assert entry.notes == [] and facts == {"space": "bfm" if bfm else "flame"}
    assert arrays["mean"].shape == (3, 256, 256) and arrays["basis"].shape == (50, 3, 256, 256)
    ramp = np.linspace(0.2, 0.9, 512)[::2]
    np.testing.assert_allclose(arrays["mean"][0], 0.8, rtol=1e-6)  # red comes last in the file
    np.testing.assert_allclose(arrays["mean"][2, :, 7], 0.5 * ramp, rtol=1e-6)  # blue: row 0 is the file's first
    with np.load(tmp_path / "texture.npz") as raw:
        basis = raw["PC" if bfm else "tex_dir"].reshape(512, 512, 3, -1) / (1 if bfm else 255)
    np.testing.assert_allclose(arrays["basis"][3, 1], basis[::2, ::2, 1, 3], atol=1e-8)


def test_template_masks_and_mediapipe_points(tmp_path):
    for path, kind in (
        (files.write_template(tmp_path / "head_template.obj"), "flame-uv"),
        (files.write_masks(tmp_path / "FLAME_masks.pkl"), "flame-masks"),
        (files.write_mediapipe(tmp_path / "mediapipe_landmark_embedding.npz"), "flame-mediapipe"),
    ):
        entry = assets.add(path)
        assert (entry.kind, entry.notes) == (kind, [])
    uv, _ = assets.load("flame-uv")
    assert uv["uv"].shape == (5118, 2) and uv["uv_faces"].shape == uv["faces"].shape == (9976, 3)


def test_layouts_have_the_published_numbers():
    counts = {
        "E_flame": (resnet50_layout(236), 322, 25_848_108),
        "E_detail": (resnet50_layout(128), 322, 25_737_408),
        "D_detail": (detail_layout(), 44, 1_773_345),
    }
    for layout, tensors, parameters in counts.values():
        learned = {k: v for k, v in layout.items() if not k.endswith(("running_mean", "running_var", "tracked"))}
        assert (len(layout), sum(int(np.prod(s)) for s in learned.values())) == (tensors, parameters)


def _deca(**changes):
    layouts = {"E_flame": resnet50_layout(236), "E_detail": resnet50_layout(128), "D_detail": detail_layout()}
    content = {
        entry: {
            k: torch.zeros((), dtype=torch.int64) if s == () else torch.zeros(1).expand(s) for k, s in layout.items()
        }
        for entry, layout in layouts.items()
    }
    return content | changes


def _save_deca(path, content):
    # One stored value stands for each tensor, which keeps the file small; the reader wants whole tensors.
    whole = {
        entry: {k: v.clone() for k, v in value.items()} if isinstance(value, dict) else value
        for entry, value in content.items()
    }
    torch.save(whole, path)
    return path


def test_deca_weights_keep_their_names(tmp_path):
    entry = assets.add(_save_deca(tmp_path / "deca_model.tar", _deca(global_step=7)))
    assert (entry.kind, entry.notes) == ("deca", [])
    arrays, _ = assets.load("deca")
    assert sum(k.startswith("E_flame.") for k in arrays) == 322 and len(arrays) == 688
    assert arrays["E_flame.layers.2.weight"].shape == (236, 1024)


def test_every_tensor_of_deca_is_accounted_for(tmp_path):
    content = _deca()
    content.pop("E_detail"), content.pop("D_detail")
    content["E_flame"]["spare"] = torch.zeros(1)
    content["surprise"] = {}
    entry = assets.add(_save_deca(tmp_path / "a.tar", content))
    assert any("spare" in note for note in entry.notes) and any("surprise" in note for note in entry.notes)
    del content["E_flame"]["spare"]
    missing = content["E_flame"].pop("encoder.layer3.2.bn1.running_var")
    with pytest.raises(InstaFaceError, match=r"lacks 1 of 322 tensors, encoder.layer3.2.bn1.running_var"):
        assets.add(_save_deca(tmp_path / "b.tar", content))
    content["E_flame"]["encoder.layer3.2.bn1.running_var"] = missing[:5]
    with pytest.raises(InstaFaceError, match=r"running_var is float32 \(5,\), expected"):
        assets.add(_save_deca(tmp_path / "c.tar", content))


# --- the registry ---


def test_registry_lists_verifies_and_removes(tmp_path, home):
    assert assets.entries() == [] and not assets.has("flame-mediapipe")
    entry = assets.add(files.write_mediapipe(tmp_path / "m.npz"))
    assets.add(files.write_mediapipe(tmp_path / "m.npz"))  # again: replaced, not doubled
    assert [e.kind for e in assets.entries()] == ["flame-mediapipe"]
    assert entry.source_sha256 == assets.registry.checksum(tmp_path / "m.npz") and entry.licence
    assert assets.verify() == [(assets.entries()[0], None)]
    with (home / "assets" / entry.file).open("ab") as file:
        file.write(b"x")
    assert "changed" in assets.verify()[0][1]
    assets.remove("flame-mediapipe")
    assert assets.entries() == [] and list((home / "assets").glob("*.safetensors")) == []
    with pytest.raises(InstaFaceError, match="no 'flame-mediapipe' was added"):
        assets.remove("flame-mediapipe")
    with pytest.raises(InstaFaceError, match="instaface assets add"):
        assets.load("flame")


def test_a_stopped_add_changes_nothing(tmp_path, home, monkeypatch):
    path = files.write_mediapipe(tmp_path / "m.npz")
    before = assets.add(path)
    np.savez(path, **{**np.load(path), "extra": np.zeros(1)})
    replace = Path.replace
    for stopped in ("flame-mediapipe", "registry.json"):  # while the content, then the list is put in its place

        def stop(self, target, stopped=stopped):
            if Path(target).name.startswith(stopped):
                raise KeyboardInterrupt
            return replace(self, target)

        monkeypatch.setattr(Path, "replace", stop)
        path.write_bytes(path.read_bytes())
        values = dict(np.load(path)) | {"lmk_b_coords": np.roll(np.load(path)["lmk_b_coords"], 1, 0)}
        np.savez(path, **values)
        with pytest.raises(KeyboardInterrupt):
            assets.add(path)
        assert assets.verify() == [(before, None)]
        assert not [f for f in (home / "assets").iterdir() if f.suffix not in (".json", ".safetensors")]
    monkeypatch.setattr(Path, "replace", replace)
    after = assets.add(path)
    assert after.file != before.file and assets.verify() == [(after, None)]
    assert not (home / "assets" / before.file).exists()


def test_a_damaged_registry_and_lost_files_are_told(tmp_path, home):
    entry = assets.add(files.write_mediapipe(tmp_path / "m.npz"))
    (home / "assets" / entry.file).write_bytes(b"not safetensors")
    with pytest.raises(InstaFaceError, match=r"cannot be read .*; add m.npz again"):
        assets.load("flame-mediapipe")
    (home / "assets" / entry.file).unlink()
    assert "gone" in assets.verify()[0][1]
    for content in ("{", "[1]", "{}x", '[{"kind": "flame"}]'):
        (home / "assets" / "registry.json").write_text(content)
        with pytest.raises(InstaFaceError, match="delete it and add the files again"):
            assets.entries()


def test_published_releases_are_known_by_their_checksum(tmp_path, monkeypatch):
    path = files.write_flame(tmp_path / "any name")
    monkeypatch.setitem(kinds.RELEASES, kinds.checksum(path), "FLAME 2023, flame2023.pkl")
    entry = assets.add(path)
    assert entry.facts["release"] == "FLAME 2023, flame2023.pkl"
    assert any("DECA estimates coefficients of FLAME 2020" in note for note in entry.notes)
    assert all(len(digest) == 64 for digest in kinds.RELEASES)


# --- hostile files ---


class Call:
    """Pickles as a call of a function."""

    def __init__(self, function, *args):
        self.function, self.args = function, args

    def __reduce__(self):
        return self.function, self.args

    def __call__(self):
        """Only so that the pickler takes it for a function."""
        raise NotImplementedError


def _nested(marker):
    """A call that hides in the bytes of a torch tensor's storage."""
    return Call(torch.storage._load_from_bytes, pickle.dumps(Call(os.system, f"touch {marker}"), 2))


PAYLOADS = {
    "os.system": lambda marker: Call(os.system, f"touch {marker}"),
    "eval": lambda marker: Call(eval, f"open({str(marker)!r}, 'w').close()"),
    "exec in a list": lambda marker: [1, {"a": (2, Call(exec, f"open({str(marker)!r}, 'w').close()"))}],
    "getattr chain": lambda marker: Call(Call(getattr, os, "system"), f"touch {marker}"),
    "getattr of an allowed name": lambda marker: Call(Call(getattr, np.ndarray, "tofile"), np.zeros(3), str(marker)),
    "method by its dotted name": lambda marker: Call(Path.touch, Path(marker)),
    "numpy saves": lambda marker: Call(np.savetxt, str(marker), [1.0]),
    "nested in a tensor": _nested,
}


class _Pickler(pickle._Pickler):
    """Pickles modules by import, for the chain that starts at `os`."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_module(self, module):
        self.save_reduce(__import__, (module.__name__,), obj=module)

    dispatch[type(os)] = save_module


def _dumps(value, protocol):
    buffer = io.BytesIO()
    _Pickler(buffer, protocol).dump(value)
    return buffer.getvalue()


def _live(name, marker):
    """The payload does run under a plain unpickler: what is refused here would have done harm."""
    if name != "nested in a tensor":  # torch has its own guard there, from 2.6 on
        pickle.loads(_dumps(PAYLOADS[name](marker), 4))
        assert marker.exists()
        marker.unlink()


@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_calls_are_refused_and_not_made(tmp_path, name, protocol):
    marker = tmp_path / "harm"
    _live(name, marker)
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(_dumps({"v_template": 1, "shapedirs": PAYLOADS[name](marker)}, protocol))
    with pytest.raises(InstaFaceError, match=r"refused|not what such a file holds"):
        assets.add(path)
    assert not marker.exists() and assets.entries() == []


@pytest.mark.parametrize("name", PAYLOADS)
def test_calls_inside_a_chumpy_object_are_refused(tmp_path, name):
    marker = tmp_path / "harm"
    path = tmp_path / "generic_model.pkl"
    with files.fake_classes() as (ch, csc):
        model = files.chumpy_model(files.flame(), ch, csc, _cache=PAYLOADS[name](marker))
        path.write_bytes(_dumps(model, 2))
    with pytest.raises(InstaFaceError, match="refused"):
        assets.add(path)
    assert not marker.exists()


@pytest.mark.parametrize("name", PAYLOADS)
def test_calls_inside_arrays_archives_and_checkpoints_are_refused(tmp_path, name):
    marker = tmp_path / "harm"
    payload = _dumps({"E_flame": PAYLOADS[name](marker)}, 2)
    npy = tmp_path / "landmark_embedding.npy"
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|O", "fortran_order": False, "shape": ()})
    npy.write_bytes(header.getvalue() + payload)
    npz = tmp_path / "FLAME_texture.npz"
    with zipfile.ZipFile(npz, "w") as archive:
        archive.writestr("mean.npy", npy.read_bytes())
        archive.writestr("tex_dir.npy", npy.read_bytes())
    tar = tmp_path / "deca_model.tar"
    with zipfile.ZipFile(tar, "w") as archive:
        archive.writestr("archive/data.pkl", payload)
    legacy = tmp_path / "legacy.tar"
    head = b"".join(pickle.dumps(v, 2) for v in (checkpoints._LEGACY_MAGIC, 1001, {}))
    legacy.write_bytes(head + payload + pickle.dumps([], 2))
    for path in (npy, npz, tar, legacy):
        with pytest.raises(InstaFaceError, match=r"refused|not what such a file holds|not a torch checkpoint"):
            assets.add(path)
    assert not marker.exists()


CHUMPY = b"cchumpy.ch\nCh\n"
HANDMADE = {
    "instance of os.system by INST": b"(S'touch {m}'\niposix\nsystem\n.",
    "extension registry": b"\x80\x02\x82\x01.",
    "own __setstate__ by BUILD, then BUILD": b"\x80\x02}"
    + CHUMPY
    + b")\x81}U\x0c__setstate__cnumpy\ndtype\nsbU\x01xb.",
    "BUILD on a class": b"\x80\x02" + CHUMPY + b"}U\x0c__setstate__cnumpy\ndtype\nsb.",
    "BUILD on a class with slots": b"\x80\x02" + CHUMPY + b"N}U\x08__init__cnumpy\ndtype\ns\x86b.",
    "BUILD on a dict": b"\x80\x02}}U\x09__class__" + CHUMPY + b"sb.",
    "call of a chumpy class": b"\x80\x02" + CHUMPY + b"U\x01x\x85R.",
    "an array that contains itself": b"\x80\x02]q\x00h\x00a.",
    "huge claimed length": b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
    "memo out of nowhere": b"\x80\x02h\x07.",
    "protocol of the future": b"\x80\x63}.",
    "a memo of gigabytes": b"\x80\x02}r\xff\xff\xff\x0f.",
    "a hash that takes years": b"\x80\x02}K\x01" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(1, 60)) + b"K\x02s.",
    "the same in a set": b"\x80\x04\x8f(K\x01" + b"".join(b"q%ch%c\x86" % (i, i) for i in range(1, 60)) + b"\x90.",
    "the same behind Python 2's set": b"\x80\x02c__builtin__\nset\n(K\x01"
    + b"".join(b"q%ch%c\x86" % (i, i) for i in range(1, 60))
    + b"l\x85R.",
    "a bytearray of gigabytes": b"\x80\x05}\x94(K\x01K\x02K\x03\x96\x00\x00\x00\x00\x40\x00\x00\x00abc.",
    "deeply nested": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "a sparse matrix of gigabytes": b"\x80\x02cscipy.sparse.csc\ncsc_matrix\n)\x81}(U\x06_shape"
    b"J\xff\xff\xff\x0fJ\xff\xff\xff\x0f\x86U\x04dataK\x00U\x07indicesK\x00U\x06indptrK\x00ub.",
}


@pytest.mark.parametrize("name", HANDMADE)
def test_handmade_pickles_do_nothing(tmp_path, name):
    marker = tmp_path / "harm"
    path = tmp_path / "generic_model.pkl"
    path.write_bytes(HANDMADE[name].replace(b"{m}", str(marker).encode()))
    before = dict(vars(pickles.Record))
    with pytest.raises(InstaFaceError):
        assets.add(path)
    assert not marker.exists() and dict(vars(pickles.Record)) == before


def _npz(path, **members):
    """Members as (dtype, shape, bytes of zeros behind the header)."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, (dtype, shape, size) in members.items():
            header = io.BytesIO()
            np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
            archive.writestr(f"{name}.npy", header.getvalue() + bytes(size))
    return path


TEXTURE = ("<f4", (512, 512, 3), 512 * 512 * 12)
CLAIMS = {
    "values": ({"mean": ("<f8", (2**27,), 0), "tex_dir": TEXTURE}, "refused: an array of over"),
    "more than any machine": ({"mean": ("<f8", (2**40, 2**40), 0), "tex_dir": TEXTURE}, "refused: an array of over"),
    "an object": ({"mean": ("|O", (), 80_000_000), "tex_dir": TEXTURE}, "refused: an array of over"),
    "less than nothing": ({"mean": ("<f8", (-4,), 0), "tex_dir": TEXTURE}, "damaged NumPy header"),
    "components": ({"mean": TEXTURE, "tex_dir": ("<f8", (512, 512, 3, 2**40), 0)}, "199 or 200 components"),
    "no components": ({"mean": TEXTURE, "tex_dir": ("<f8", (), 8)}, "199 or 200 components"),
    "texts": ({"mean": ("|S4", (512, 512, 3), 512 * 512 * 12), "tex_dir": TEXTURE}, "expected 512x512x3"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_claims_of_much_memory_are_refused(tmp_path, name):
    members, message = CLAIMS[name]
    with pytest.raises(InstaFaceError, match=message):
        assets.add(_npz(tmp_path / "FLAME_texture.npz", **members))


@pytest.mark.parametrize("count", [2**62, 2**40, -5])
def test_a_checkpoint_that_claims_a_huge_storage(tmp_path, count):
    path = tmp_path / "deca_model.tar"
    tensor = b"\x80\x02(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04NtQ."
    head = b"".join(pickle.dumps(v, 2) for v in (checkpoints._LEGACY_MAGIC, 1001, {}))
    path.write_bytes(head + tensor + pickle.dumps(["0"], 2) + count.to_bytes(8, "little", signed=True))
    with pytest.raises(InstaFaceError, match="truncated: storage 0"):
        assets.add(path)


# --- damaged and wrong files ---


def test_truncated_files_say_so(tmp_path):
    made = {
        "generic_model.pkl": files.write_flame(tmp_path / "generic_model.pkl"),
        "landmark_embedding.npy": files.write_landmarks(tmp_path / "landmark_embedding.npy"),
        "m.npz": files.write_mediapipe(tmp_path / "m.npz"),
        "head_template.obj": files.write_template(tmp_path / "head_template.obj"),
        "zip.tar": tmp_path / "zip.tar",
        "legacy.tar": tmp_path / "legacy.tar",
    }
    small = {"E_flame": {"a": torch.zeros(1000)}}
    torch.save(small, made["zip.tar"])
    torch.save(small, made["legacy.tar"], _use_new_zipfile_serialization=False)
    for path in made.values():
        data = path.read_bytes()
        for share in (0.3, 0.9):
            path.write_bytes(data[: int(len(data) * share)])
            with pytest.raises(InstaFaceError, match=r"truncated|damaged|expected|cannot be read"):
                assets.add(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<html>404</html>", "not a file InstaFace knows"),
        (pickle.dumps({"a": 1}), "not a file InstaFace knows.*expected flame"),
        (pickle.dumps([1, 2]), "not a file InstaFace knows"),
        (pickle.dumps({"v_template": np.zeros((6890, 3)), "shapedirs": np.zeros((6890, 3, 10))}), "SMPL"),
        (b"\x1f\x8b\x08" + bytes(300), "an archive of files; unpack it"),
        (bytes(257) + b"ustar" + bytes(300), "an archive of files; unpack it"),
        (b"v 0 0 0\nvt 0 0\nf 1/1 1/1 1/1\n", "expected 5023, 5118, 9976"),
    ],
)
def test_wrong_files_say_what_was_expected(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(InstaFaceError, match=message) as raised:
        assets.add(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("v_template", np.full((5023, 3), np.nan), "not finite"),
        ("f", np.full((9976, 3), 5023), "whole numbers 0..5022"),
        ("weights", np.zeros((5023, 5)), "add up to 1"),
        ("posedirs", np.zeros((5023, 3, 9)), "expected 5023x3x36"),
        ("shapedirs", np.zeros((5023, 3, 100)), "350|identity 0-99"),
        ("kintree_table", np.array([[0, 1, 1, 1, 1], [0, 1, 2, 3, 4]]), "not a tree"),
    ],
)
def test_flame_entries_are_checked(tmp_path, key, value, message):
    path = files.write_flame(tmp_path / "m.pkl", files.flame() | {key: value, "J": files.flame()["J"]})
    with pytest.raises(InstaFaceError, match=message):
        assets.add(path)


def test_unverified_differences_are_taken_and_told(tmp_path):
    model = files.flame() | {"surprise": np.zeros(3), "J": files.flame()["J"] + 0.5}
    notes = assets.add(files.write_flame(tmp_path / "m.pkl", model)).notes
    assert any("surprise" in note for note in notes) and any("rest joints differ" in note for note in notes)


def test_flame_2023_open_says_how_its_components_are_ordered(tmp_path):
    layout = {"expr_source": "FLAME", "expr_components": "last_100", "n_expr": 100}
    model = files.flame() | {"supr_expression_metadata": layout}
    (note,) = assets.add(files.write_flame(tmp_path / "flame2023_Open.pkl", model)).notes
    assert "a FLAME of 2023" in note
    layout["n_expr"] = 50
    with pytest.raises(InstaFaceError, match="50 expression components, expected 100"):
        assets.add(files.write_flame(tmp_path / "other.pkl", model))


def test_landmarks_with_two_more_for_the_eyes(tmp_path):
    embedding = files.landmarks()
    for key in ("full_lmk_faces_idx", "full_lmk_bary_coords"):
        embedding[key] = np.concatenate([embedding[key], embedding[key][:, :2]], 1)
    (note,) = assets.add(files.write_landmarks(tmp_path / "with_eyes.npy", embedding)).notes
    assert "70 fixed landmarks, of which the first 68" in note
    np.testing.assert_array_equal(
        assets.load("flame-landmarks")[0]["full_faces"], files.landmarks()["full_lmk_faces_idx"]
    )
    embedding["full_lmk_bary_coords"] = embedding["full_lmk_bary_coords"][:, :60]
    with pytest.raises(InstaFaceError, match="expected 68"):
        assets.add(files.write_landmarks(tmp_path / "short.npy", embedding))


def test_another_albedo_model_under_basels_name_is_told(tmp_path):
    small = np.zeros(3)
    np.savez(tmp_path / "FLAME_albedo_from_BFM.npz", MU=small, PC=small, specMU=small, specPC=small, vt=small, ft=small)
    with pytest.raises(InstaFaceError, match=r"AlbedoMM's albedo .* another space"):
        assets.add(tmp_path / "FLAME_albedo_from_BFM.npz")


def test_a_downloaded_archive_is_to_be_unpacked(tmp_path):
    with zipfile.ZipFile(tmp_path / "FLAME2020.zip", "w") as archive:
        archive.writestr("generic_model.pkl", b"")
    with pytest.raises(InstaFaceError, match="unpack it and add its folder"):
        assets.add(tmp_path / "FLAME2020.zip")


def test_kinds_are_told_apart(tmp_path):
    assert len({kind.name for kind in KINDS}) == len(KINDS)
    assert recognise(files.write_masks(tmp_path / "renamed.bin"))[0].name == "flame-masks"
