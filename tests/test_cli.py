"""The command line, in-process: what it writes, what it says, and with which status it ends."""

import json
import math
import sys

import numpy as np
import pytest
from PIL import Image, ImageDraw

from instaface import __version__
from instaface.cli import main
from instaface.cli.editing import plan
from instaface.edit import sweep
from instaface.errors import InstaFaceError
from instaface.photo import read_photo
from instaface.photo.metadata import HUMAN_EDITS, digital_source_type


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs ``instaface ARGS``: (status, standard output, standard error)."""

    def call(*args: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["instaface", *map(str, args)])
        monkeypatch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err and "this should not have happened" not in captured.err
        return int(end.value.code or 0), captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    """A real photo with one face, as PNG."""
    from skimage.data import astronaut

    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    Image.fromarray(astronaut()[:320, 60:380]).save(path)
    return path


def error_line(err: str) -> str:
    """The one line of an error."""
    lines = [line for line in err.splitlines() if line.strip()]
    assert len(lines) == 1 and lines[0].startswith("instaface: "), err
    return lines[0]


# Usage


def test_help_and_version(run):
    assert run("--version") == (0, f"instaface {__version__}\n", "")
    for command in ("edit", "inspect", "sweep", "demo"):
        status, out, _ = run(command, "--help")
        assert status == 0 and "Usage" in out
    assert "instaface edit me.jpg -o out.jpg --yaw 20" in run("edit", "--help")[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--yaw", "nan"], "yaw: nan is not a number"),
        (["--yaw", "-95"], "yaw: -95 is out of range, allowed are numbers from -90 to 90"),
        (["--expression", "smlie"], "did you mean smile?"),
        (["--gaze", "up"], "allowed are two angles X,Y or camera"),
        (["--light", "azimuth=north"], "light azimuth: 'north' is not a number"),
        (["--drive-what", "identity"], "allowed are pose, expression, light, gaze"),
        (["--edit", "none.json"], "none.json cannot be read"),
    ],
)
def test_wrong_values_are_wrong_usage_in_one_line(run, photo, tmp_path, options, message):
    status, out, err = run("edit", photo, "-o", tmp_path / "out.png", *options)
    assert status == 2 and out == "" and message in error_line(err)
    assert not list(tmp_path.iterdir())


def test_missing_and_unknown_options_are_wrong_usage(run, photo):
    for args in (
        ["edit", photo],
        ["edit", photo, "-o", "x.png", "--yam", "3"],
        ["edit", photo, "-o", "x.png", "--yaw", "a"],
    ):
        assert run(*args)[0] == 2


def test_sweeps_need_ranges_of_one_count(run, photo, tmp_path):
    for options, message in [
        (["--yaw", "3"], "needs a range"),
        (["--yaw", "-30:30:7", "--pitch", "0:9:4"], "one count, not 4 and 7"),
        (["--yaw", "-130:30:7"], "yaw: -130 is out of range"),
    ]:
        status, _, err = run("sweep", photo, "-o", tmp_path / "x.gif", *options)
        assert status == 2 and message in error_line(err)


def test_sweeps_put_numbers_wherever_ranges_stand():
    edits = sweep({"yaw": "-30:30:3", "light": "azimuth=-90:90:3,elevation=20", "expression": "smile=0:1:3"})
    assert [edit.yaw for edit in edits] == [-30, 0, 30]
    assert [edit.light.azimuth for edit in edits] == [-90, 0, 90]
    assert [edit.weights["mouthSmileLeft"] for edit in edits] == pytest.approx([0, 0.4, 0.8])


# Files and folders


def test_output_files_are_planned_without_losing_anything(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    for folder in (a, b):
        folder.mkdir()
        (folder / "x.jpg").touch()
    (a / "y.gif").touch()
    (a / "notes.txt").touch()
    out = tmp_path / "out"
    targets = [target.name for _, target in plan([a, b], out)]
    assert targets == ["x.jpg", "y.png", "x-2.jpg"] and out.is_dir()
    assert plan([a / "x.jpg"], tmp_path / "z.png") == [(a / "x.jpg", tmp_path / "z.png")]
    with pytest.raises(InstaFaceError, match="is the photo itself"):
        plan([a / "x.jpg"], a)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("none.jpg", None, "does not exist"),
        ("empty.jpg", b"", "is empty"),
        ("letter.jpg", b"Dear Sir or Madam", "not a picture"),
    ],
)
def test_what_is_no_photo_ends_with_status_1(run, tmp_path, name, data, message):
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    for command in (["edit", path, "-o", tmp_path / "out.png", "--yaw", "5"], ["inspect", path]):
        status, out, err = run(*command)
        assert status == 1 and out == "" and message in error_line(err)
    assert not (tmp_path / "out.png").exists()


def test_a_cut_file_a_bomb_and_a_folder_without_photos_end_with_status_1(run, photo, tmp_path):
    cut, bomb = tmp_path / "cut.png", tmp_path / "bomb.png"
    cut.write_bytes(photo.read_bytes()[:20000])
    header = bytearray(photo.read_bytes())
    header[16:24] = (100_000).to_bytes(4, "big") * 2  # the size in the PNG's header
    bomb.write_bytes(header)
    (tmp_path / "folder").mkdir()
    for path, message in [(cut, "cut off"), (bomb, "bomb.png"), (tmp_path / "folder", "has no photos")]:
        status, _, err = run("edit", path, "-o", tmp_path / "out.png", "--yaw", "5")
        assert status == 1 and message in error_line(err)


def test_output_that_cannot_be_written_ends_with_status_1(run, photo, tmp_path):
    (tmp_path / "file").touch()
    for output, message in [
        (tmp_path / "out.xyz", "unknown output format '.xyz'"),
        (tmp_path / "file", "cannot be used as a folder"),
        (tmp_path / "file" / "out.png", "cannot be written"),
        (tmp_path / "none" / "out.png", "does not exist"),
        (photo, "is the photo itself"),
    ]:
        before = photo.read_bytes()
        status, _, err = run("edit", photo, "-o", output, "--yaw", "5")
        assert status == 1 and message in error_line(err)
        assert photo.read_bytes() == before


@pytest.mark.parametrize(
    ("option", "place", "message"),
    [
        ("--report", "none/report.json", "does not exist"),
        ("--sheet", "none/sheet.png", "does not exist"),
        ("--sheet", "sheet.txt", "unknown output format '.txt'"),
        ("--maps", "file", "cannot be used as a folder"),
    ],
)
def test_what_cannot_be_written_is_said_before_anything_is(run, photo, tmp_path, option, place, message):
    (tmp_path / "file").touch()
    status, _, err = run("edit", photo, "-o", tmp_path / "out.png", "--yaw", "5", option, tmp_path / place)
    assert status == 1 and message in error_line(err)
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize("options", [("--face", "second"), ("--renderer", "oil")])
def test_unknown_faces_and_renderers_are_wrong_usage(run, photo, tmp_path, options):
    status, out, err = run("edit", photo, "-o", tmp_path / "out.png", *options)
    assert status == 2 and out == "" and options[1] in err
    assert not list(tmp_path.iterdir())


# With a face


def test_no_edit_copies_the_file(run, photo, tmp_path):
    assert run("edit", photo, "-o", tmp_path / "same.png")[0] == 0
    assert (tmp_path / "same.png").read_bytes() == photo.read_bytes()


def test_an_edit_with_everything(run, photo, tmp_path):
    out, sheet, report, maps = (tmp_path / name for name in ("out.jpg", "sheet.png", "report.json", "maps"))
    options = ["--yaw", "-20", "--expression", "smile=0.5", "--light", "left", "--gaze", "-10,5"]
    extras = ["--sheet", sheet, "--report", report, "--maps", maps]
    status, shown, err = run("edit", photo, "-o", out, *options, *extras)
    assert status == 0 and err.strip() == "" and str(out) in shown
    edited, original = read_photo(out), read_photo(photo)
    assert edited.pixels.shape == original.pixels.shape
    assert digital_source_type(edited.xmp) == HUMAN_EDITS
    assert digital_source_type(read_photo(sheet).xmp) == HUMAN_EDITS
    assert read_photo(sheet).width > 2 * original.width
    (entry,) = json.loads(report.read_text())["photos"]
    (face,) = entry["faces"]
    assert face["after"]["head"]["yaw"] == -20 and face["before"]["head"]["yaw"] != -20
    assert face["after"]["expression"]["mouthSmileLeft"] == pytest.approx(0.4)
    assert face["after"]["gaze"]["left"] == [-10, 5]
    assert math.isclose(sum(face["coverage_of_edited_pixels"].values()), 1, abs_tol=1e-3)
    assert json.loads(report.read_text())["versions"]["instaface"] == __version__
    names = {path.stem.removeprefix("out-0-") for path in maps.iterdir()}
    assert {"draft", "appearance", "coverage", "normals", "albedo", "shading", "depth", "mask"} <= names


def test_one_bad_photo_does_not_stop_the_others(run, photo, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").write_bytes(photo.read_bytes())
    (folder / "bad.jpg").write_bytes(b"not a picture")
    Image.new("RGB", (200, 200), "teal").save(folder / "empty.png")
    (folder / "z.png").write_bytes(photo.read_bytes())
    status, out, err = run("edit", folder, "-o", tmp_path / "out", "--nod", "4", "--sheet", tmp_path / "sheet.png")
    assert status == 1
    assert "2 of 4 photos edited, 2 failed" in out
    assert "bad.jpg is not a picture" in err and "empty.png: no face found" in err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "z.png"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Image.new("RGB", (1, 1), "red"),
        lambda: Image.new("RGB", (640, 480), "grey"),
        lambda: Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)),
    ],
    ids=["one pixel", "one colour", "noise"],
)
def test_pictures_without_a_face_end_with_status_1(run, tmp_path, make):
    make().save(tmp_path / "x.png")
    for command in (
        ["edit", tmp_path / "x.png", "-o", tmp_path / "out.png", "--yaw", "5"],
        ["inspect", tmp_path / "x.png"],
    ):
        status, _, err = run(*command)
        assert status == 1 and "no face found" in error_line(err)


def test_a_drawing_is_edited_or_refused_but_never_trips(run, tmp_path):
    image = Image.new("RGB", (400, 400), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((80, 60, 320, 360), fill=(255, 220, 180), outline="black", width=3)
    for x in (140, 220):
        draw.ellipse((x, 150, x + 40, 175), fill="white", outline="black", width=2)
        draw.ellipse((x + 14, 155, x + 26, 172), fill="black")
    draw.line((200, 190, 190, 240, 210, 245), fill="black", width=2)
    draw.arc((150, 240, 250, 310), 20, 160, fill="red", width=5)
    image.save(tmp_path / "x.png")
    status, _, err = run("edit", tmp_path / "x.png", "-o", tmp_path / "out.png", "--yaw", "10")
    assert status == 0 or (status == 1 and error_line(err))
    assert (tmp_path / "out.png").exists() == (status == 0)


@pytest.mark.parametrize("side", ["left", "right", "top", "bottom"])
def test_a_face_at_the_border_is_edited_or_refused_but_never_trips(run, photo, tmp_path, side):
    image = Image.open(photo)  # the face is at about (110..230, 70..220)
    box = {"left": (165, 0, 320, 320), "right": (0, 0, 175, 320), "top": (0, 130, 320, 320), "bottom": (0, 0, 320, 150)}
    image.crop(box[side]).save(tmp_path / "x.png")
    status, _, err = run("edit", tmp_path / "x.png", "-o", tmp_path / "out.png", "--yaw", "15", "--expression", "smile")
    assert status == 0 or "no face found" in error_line(err)
    if status == 0:
        assert read_photo(tmp_path / "out.png").pixels.shape[:2] == image.crop(box[side]).size[::-1]


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [("L", ".png"), ("P", ".png"), ("RGBA", ".png"), ("CMYK", ".jpg"), ("I;16", ".png"), ("1", ".png")],
)
def test_all_pixel_layouts_are_edited(run, photo, tmp_path, mode, suffix):
    source, out = tmp_path / f"x{suffix}", tmp_path / f"out{suffix}"
    image = Image.open(photo)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    else:
        image = image.quantize(64) if mode == "P" else image.convert(mode)
    image.save(source)
    status, _, err = run("edit", source, "-o", out, "--turn", "8")
    if mode == "1" and status == 1:  # black and white dots need not look like a face
        assert "no face found" in error_line(err)
        return
    assert status == 0
    before, after = read_photo(source), read_photo(out)
    assert after.pixels.shape == before.pixels.shape and (after.alpha is None) == (before.alpha is None)
    assert np.abs(after.pixels.astype(int) - before.pixels).mean() > 0.5


def test_a_rotated_photo_is_edited_as_it_is_seen(run, photo, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    Image.open(photo).transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    for source, out in ((photo, "a.png"), (tmp_path / "turned.png", "b.png")):
        assert run("edit", source, "-o", tmp_path / out, "--yaw", "12")[0] == 0
    np.testing.assert_array_equal(read_photo(tmp_path / "a.png").pixels, read_photo(tmp_path / "b.png").pixels)


@pytest.mark.slow
def test_a_photo_of_108_megapixels_is_edited(run, photo, tmp_path):
    large = Image.new("RGB", (12000, 9000), "grey")
    large.paste(Image.open(photo).resize((800, 800)), (7000, 4000))
    large.save(tmp_path / "large.jpg")
    assert run("edit", tmp_path / "large.jpg", "-o", tmp_path / "out.jpg", "--turn", "15")[0] == 0
    edited = read_photo(tmp_path / "out.jpg").pixels
    assert edited.shape == (9000, 12000, 3)
    before = read_photo(tmp_path / "large.jpg").pixels
    assert np.abs(edited[4000:4800, 7000:7800].astype(int) - before[4000:4800, 7000:7800]).mean() > 1


def test_faces_are_chosen(run, photo, tmp_path):
    pixels = np.asarray(Image.open(photo))
    group = Image.fromarray(np.hstack([pixels, pixels[:, ::-1]]))
    group.save(tmp_path / "two.png")
    before, half = np.asarray(group).astype(int), pixels.shape[1]

    def changed(which: str) -> list[bool]:
        assert run("edit", tmp_path / "two.png", "-o", tmp_path / "out.png", "--turn", "9", "--face", which)[0] == 0
        difference = np.abs(read_photo(tmp_path / "out.png").pixels - before)
        return [difference[:, :half].mean() > 0.5, difference[:, half:].mean() > 0.5]

    assert sorted([changed("0"), changed("1")]) == [[False, True], [True, False]]
    assert changed("all") == [True, True]
    assert changed("largest") == changed("0")
    status, _, err = run("edit", tmp_path / "two.png", "-o", tmp_path / "out.png", "--face", "2")
    assert status == 1 and "the 2 faces are 0 to 1" in error_line(err)
    status, _, err = run("edit", tmp_path / "two.png", "-o", tmp_path / "out.png", "--face", "left")
    assert status == 2 and "largest" in err


def test_driving_by_a_photo(run, photo, tmp_path):
    Image.open(photo).rotate(-15, Image.Resampling.BICUBIC).save(tmp_path / "driver.png")
    report = tmp_path / "report.json"
    options = ["--drive", tmp_path / "driver.png", "--drive-what", "pose", "--report", report]
    assert run("edit", photo, "-o", tmp_path / "out.png", *options)[0] == 0
    (face,) = json.loads(report.read_text())["photos"][0]["faces"]
    assert face["after"]["head"]["roll"] - face["before"]["head"]["roll"] == pytest.approx(15, abs=4)
    assert face["after"]["expression"] == face["before"]["expression"]
    status, _, err = run("edit", photo, "-o", tmp_path / "out.png", "--drive", tmp_path / "none.png")
    assert status == 1 and "none.png does not exist" in error_line(err)


def test_inspect_shows_numbers_and_draws(run, photo, tmp_path):
    status, out, _ = run("inspect", photo, "--draw", tmp_path / "drawn.png")
    assert status == 0 and "yaw" in out and "fit error" in out
    assert read_photo(tmp_path / "drawn.png").width >= 320
    status, out, _ = run("inspect", photo, "--json")
    (face,) = json.loads(out)["faces"]
    assert status == 0 and set(face["head"]) == {"yaw", "pitch", "roll"} and len(face["light"]["coefficients"]) == 9


def test_sweeps_are_written(run, photo, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.which", lambda name: None)  # no ffmpeg
    assert run("sweep", photo, "-o", tmp_path / "all", "--turn", "-8:8:3")[0] == 0
    assert sorted(p.name for p in (tmp_path / "all").iterdir()) == [
        "000.png",
        "001.png",
        "002.png",
        "strip.png",
        "sweep.gif",
    ]
    with Image.open(tmp_path / "all" / "sweep.gif") as animation:
        assert animation.n_frames == 4  # there and back
    np.testing.assert_array_equal(read_photo(tmp_path / "all" / "001.png").pixels, read_photo(photo).pixels)  # turn 0
    status, _, err = run("sweep", photo, "-o", tmp_path / "x.mp4", "--turn", "0:8:2")
    assert status == 1 and "needs ffmpeg" in error_line(err)
    status, _, err = run("sweep", photo, "-o", tmp_path / "x.avi", "--turn", "0:8:2")
    assert status == 1 and "unknown output format '.avi'" in error_line(err)
