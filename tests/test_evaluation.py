"""The evaluation reacts as it must, on rendered heads whose truth is known."""

import base64
import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import skimage.data
import torch
from PIL import Image

from instaface.edit import Edit
from instaface.edit.apply import apply
from instaface.errors import InstaFaceError
from instaface.evaluation import cases
from instaface.evaluation.compare import compare, realism_side_by_side
from instaface.evaluation.evaluate import Evaluation, evaluate
from instaface.evaluation.figures import FIGURES, TABLES, figures_of
from instaface.evaluation.measure import Judged, control_figures, predicted_cheek_ratio
from instaface.evaluation.pose import known_turns
from instaface.evaluation.realism import realism_of_edit
from instaface.evaluation.run import invented_path, row_path, view_path
from instaface.evaluation.systems import OutputFolder, SystemOptions, resized
from instaface.evaluation.tables import JUDGES, by_size, frame, make_cell, make_tables, read_labels
from instaface.face import Camera, OpenHead
from instaface.face.colour import pixels_from_linear
from instaface.face.light import direction_from_angles, directional
from instaface.photo import Photo
from instaface.render import render_maps
from instaface.track import Frame, Matte, TrackedFace

SIZE = 320
GRID = {
    "yaw": Edit(yaw=20),
    "pitch": Edit(pitch=12),
    "open": Edit(expression={"jawOpen": 0.6}),
    "left": Edit(light="left"),
}
PEOPLE = ("ann", "bob")


def head(person: str):
    """Parameters of a random head."""
    model, generator = OpenHead.load(), torch.Generator().manual_seed(PEOPLE.index(person))
    direction = direction_from_angles(torch.tensor([15.0]), torch.tensor([20.0]))
    return model.neutral().replace(
        identity=0.6 * torch.randn(1, model.n_identity, generator=generator),
        albedo=torch.randn(1, model.n_albedo, generator=generator),
        light=directional(direction, torch.ones(1), torch.ones(1) / 2),
        translation=torch.tensor([[0.0, -7.0, -60.0]]),
    )


def shot(parameters):
    """Rendering over a background with stripes."""
    maps = render_maps(OpenHead.load(), parameters, Camera.for_photo(SIZE, SIZE))
    background = np.full((SIZE, SIZE, 3), 0.4, np.float32)
    background[::16] = 0.3
    alpha = maps.mask[..., None]
    return pixels_from_linear(maps.rendering * alpha + background * (1 - alpha))


def save(folder: Path, pictures: dict[str, np.ndarray]) -> Path:
    folder.mkdir()
    for name, pixels in pictures.items():
        Image.fromarray(pixels).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return save(tmp_path_factory.mktemp("data") / "photos", {person: shot(head(person)) for person in PEOPLE})


def report(folder, photos, outputs, grid=None, **options):
    found = cases.find_photos([photos])
    asked = cases.edit_cases(found, GRID if grid is None else grid)
    return evaluate(Evaluation(asked, "edits", TABLES, SystemOptions(outputs=outputs), GRID, **options), folder)


def rendered(share=1.0, swap=False):
    """Pictures of an editor that goes a share of the way; with ``swap`` it shows the other person."""
    pictures = {}
    for person in PEOPLE:
        shown = head(PEOPLE[1 - PEOPLE.index(person)] if swap else person)
        pictures[f"{person}__zero"] = shot(shown)
        for name, edit in GRID.items():
            target = apply(edit, shown, OpenHead.load())
            part = {
                key: torch.lerp(getattr(shown, key), getattr(target, key), share)
                for key in ("head", "expression", "light")
            }
            pictures[f"{person}__{name}"] = shot(shown.replace(**part))
    return pictures


@pytest.fixture(scope="module")
def reports(tmp_path_factory, photos):
    """Reports of the rendering itself, of an editor that goes half the way, and of one that swaps the people."""
    folder = tmp_path_factory.mktemp("reports")
    made = {}
    for name, pictures in {"exact": rendered(), "half": rendered(0.5), "swapped": rendered(swap=True)}.items():
        outputs = save(folder / f"{name}-pictures", pictures)
        made[name] = report(folder / name, photos, outputs)
    return folder, made


def value(metrics, table, figure, edit="all"):
    return metrics["tables"][table][edit][figure]["value"]


def seen_as(parameters):
    """A face that a perfect tracker found, and judges that agree with it."""
    model, camera = OpenHead.load(), Camera.for_photo(SIZE, SIZE)
    points = camera.project(model.landmarks(model.vertices(parameters), "mediapipe")[0])[:, :2].numpy()
    frame = Frame(0, 0, SIZE, SIZE)
    matte = Matte(*np.zeros((len(fields(Matte)), SIZE, SIZE), np.float32))
    photo = Photo(np.zeros((SIZE, SIZE, 3), np.uint8))
    face = TrackedFace(photo, 0, (0, 0, 1, 1), 1.0, points, parameters, camera, frame, matte, 0.0)
    pose = parameters.head[0].double().numpy()
    cheeks = predicted_cheek_ratio(model.mesh(parameters), parameters, model)
    return Judged(face, model, pose, pose, cheeks, {"dlib": np.zeros(1, np.float32)})


def test_control_is_exact_for_a_perfect_editor_and_a_perfect_tracker():
    model, source = OpenHead.load(), head("ann")
    for edit in (*GRID.values(), Edit(roll=30, light="bottom")):
        target = apply(edit, source, model)
        figures = control_figures(seen_as(source), seen_as(target), target)
        for name in ("yaw", "pitch", "roll"):
            judges = [figures[f"{name}_{judge}"] for judge in JUDGES]
            assert judges == pytest.approx([figures[f"{name}_asked"]] * 3, abs=1e-4)
        assert figures["crosstalk"] == figures["light_error"] == pytest.approx(0, abs=1e-6)
        assert figures["landmark_distance"] == pytest.approx(0, abs=1e-4)
        assert figures["light_got"] == pytest.approx(figures["light_asked"])
        if figures["expression_asked"]:
            assert figures["expression_got"] == pytest.approx(figures["expression_asked"])
            assert figures["expression_error"] == pytest.approx(0, abs=1e-6)


def test_control_error_is_small_for_the_rendering_itself(reports):
    """What is left is the tracker's own error on rendered heads."""
    exact = reports[1]["exact"]
    assert value(exact, "control", "pose error", "yaw") < 6
    assert value(exact, "control", "pose slope", "yaw") == pytest.approx(1, abs=0.25)
    for judge, tolerance in (("PnP", 0.3), ("dlib", 0.45)):  # five points say little
        assert value(exact, "control", f"pose slope, {judge}", "pitch") == pytest.approx(1, abs=tolerance)
        assert value(exact, "control", f"pose slope, {judge}", "yaw") == pytest.approx(1, abs=0.2)
    assert value(exact, "control", "lost") == 0
    assert value(exact, "control", "expression slope", "open") == pytest.approx(1, abs=0.5)
    assert value(exact, "control", "light slope", "left") == pytest.approx(1, abs=0.35)
    assert value(exact, "control", "landmark distance") < 6


def test_the_slope_falls_for_an_editor_that_does_too_little(reports):
    exact, half = reports[1]["exact"], reports[1]["half"]
    for figure, edit in (
        ("pose slope", "yaw"),
        ("pose slope, PnP", "yaw"),
        ("pose slope, dlib", "yaw"),
        ("pose slope, PnP", "pitch"),
        ("expression slope", "open"),
    ):
        ratio = value(half, "control", figure, edit) / value(exact, "control", figure, edit)
        assert ratio < 0.8, figure
    assert value(half, "control", "light slope", "left") < 0.9 * value(exact, "control", "light slope", "left")
    assert value(half, "control", "pose error", "yaw") > 2 * value(exact, "control", "pose error", "yaw")


def test_identity_falls_when_people_are_swapped(reports):
    exact, swapped = reports[1]["exact"], reports[1]["swapped"]
    assert value(exact, "identity", "similarity") > value(swapped, "identity", "similarity") + 0.02
    assert value(exact, "identity", "margin") > 0 > value(swapped, "identity", "margin")
    assert value(exact, "identity", "nearest is the source") == 1
    assert value(swapped, "identity", "nearest is the source") == 0


def test_a_zero_edit_preserves_everything(reports):
    folder, made = reports
    assert made["exact"]["zero"] == {"n": 2, "exact": 2}
    assert made["swapped"]["zero"] == {"n": 2, "exact": 0}
    row = json.loads(row_path(folder / "exact", "ann__zero").read_text())
    assert row["whole_psnr"] == row["background_psnr"] == float("inf")
    assert row["yaw_got"] == row["crosstalk"] == row["light_got"] == 0
    assert row["sharpness"] == 1


def test_the_background_of_a_rendering_stays(reports):
    assert value(reports[1]["exact"], "preservation", "background PSNR") > 60


def test_a_report_is_complete_and_strict(reports):
    folder, _ = reports
    text = (folder / "exact" / "metrics.json").read_text()
    loaded = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert loaded["rows"] == 2 * (len(GRID) + 1)
    table = (folder / "exact" / "metrics.csv").read_text().splitlines()
    assert len(table) == loaded["rows"] + 1
    html = (folder / "exact" / "report.html").read_text()
    assert (
        "http" not in html.replace("https://", "") and html.count("data:image") > 5
    )  # nothing is loaded from elsewhere
    markdown = (folder / "exact" / "report.md").read_text()
    assert all(f"| {edit} |" in markdown for edit in GRID)
    assert max(line.count("|") for line in markdown.splitlines()) < 16  # tables that fit on a page
    assert markdown.index("## Key figures") < markdown.index("## Control: pose") < markdown.index("## What the judges")


def test_a_run_goes_on_where_it_stopped(reports, photos):
    folder, _ = reports
    kept, lost = (row_path(folder / "half", name) for name in ("ann__yaw", "bob__yaw"))
    before, content = kept.stat().st_mtime_ns, json.loads(lost.read_text())
    lost.unlink()
    report(folder / "half", photos, folder / "half-pictures")
    assert kept.stat().st_mtime_ns == before
    again = json.loads(lost.read_text())
    assert again["yaw_got"] == content["yaw_got"]
    with pytest.raises(InstaFaceError, match="another system"):
        report(folder / "half", photos, folder / "exact-pictures")


def test_comparison_finds_the_difference_and_shows_pairs(reports, tmp_path):
    folder, made = reports
    result = compare([folder / "exact", folder / "half" / "metrics.json"], tmp_path)
    entry = result["tables"]["control"]["yaw"]["pose slope"]
    assert entry["values"] == [value(m, "control", "pose slope", "yaw") for m in (made["exact"], made["half"])]
    difference = entry["differences"][0]
    assert difference["value"] == pytest.approx(entry["values"][1] - entry["values"][0])
    assert difference["low"] <= difference["value"] <= difference["high"] < 0
    same = compare([folder / "exact", folder / "exact"], tmp_path)["tables"]["control"]["yaw"]["pose slope"]
    assert same["differences"][0]["value"] == 0
    blind = (tmp_path / "blind.html").read_text()
    assert blind.count("data:image/jpeg") == 3 * len(PEOPLE) * len(GRID)
    picture = base64.b64encode(view_path(folder / "exact", "ann__yaw").read_bytes()).decode()
    assert picture in blind  # at full size, as stored
    assert "src=" not in blind.replace(".src =", "") and "Math.random() < 0.5" in blind
    with pytest.raises(InstaFaceError, match="at least two"):
        compare([folder / "exact"], tmp_path)
    with pytest.raises(InstaFaceError, match="is no report"):
        compare([tmp_path, folder / "exact"], tmp_path)


def test_missing_pictures_and_missing_faces_are_rows_with_a_reason(tmp_path, photos):
    outputs = save(tmp_path / "pictures", {"ann__yaw": np.zeros((SIZE, SIZE, 3), np.uint8)})
    metrics = report(tmp_path / "report", photos, outputs, grid={"yaw": Edit(yaw=20)})
    text = " ".join(metrics["notes"])
    assert "1 x no face found in the edit" in text and "no picture bob__yaw" in text
    assert value(metrics, "control", "lost", "yaw") == 1  # of the pictures that are there


def test_a_fault_of_the_program_is_a_row_with_a_reason_that_is_tried_again(tmp_path, photos, monkeypatch):
    from instaface.evaluation import run

    right = run.evaluate_case

    def broken(case, source, job):
        if case.source == "bob":
            raise ValueError("a fault")
        return right(case, source, job)

    outputs = save(tmp_path / "pictures", {f"{person}__yaw": shot(head(person)) for person in PEOPLE})
    monkeypatch.setattr(run, "evaluate_case", broken)
    metrics = report(tmp_path / "report", photos, outputs, grid={"yaw": Edit(yaw=20)})
    assert "2 x unexpected ValueError: a fault" in " ".join(metrics["notes"])
    monkeypatch.undo()
    metrics = report(tmp_path / "report", photos, outputs, grid={"yaw": Edit(yaw=20)})
    assert "a fault" not in " ".join(metrics["notes"]) and metrics["tables"]["control"]["yaw"]["lost"]["n"] == 2


def test_reenactment_is_held_against_the_truth(tmp_path):
    people = head("ann")
    frames = {
        "0": shot(people),
        "1": shot(apply(Edit(yaw=15), people, OpenHead.load())),
        "2": shot(apply(Edit(expression={"jawOpen": 0.5}), people, OpenHead.load())),
    }
    folder = save(tmp_path / "ann", frames)
    asked = cases.self_cases([folder])
    assert [case.id for case in asked] == ["ann-0__1", "ann-0__2"]
    scores = {}
    for name, pictures in {"right": {"1": "1", "2": "2"}, "still": {"1": "0", "2": "0"}}.items():
        outputs = save(tmp_path / name, {f"ann-0__{k}": frames[v] for k, v in pictures.items()})
        evaluation = Evaluation(asked, "self-reenactment", TABLES, SystemOptions(outputs=outputs))
        scores[name] = evaluate(evaluation, tmp_path / f"{name}-report")
    assert value(scores["right"], "reenactment", "truth PSNR") > 60
    assert value(scores["still"], "reenactment", "truth PSNR") < 35
    assert (
        value(scores["right"], "control", "pose slope")
        > 0.9
        > 0.2
        > abs(value(scores["still"], "control", "pose slope"))
    )


def test_groups_and_the_worst_of_them(tmp_path):
    names = [f"{k:02d}" for k in range(20)]
    labels = tmp_path / "labels.csv"
    pd.DataFrame(
        {"file": [f"{n}.jpg" for n in names], "hair": ["long", "short"] * 10, "hat": ["yes"] * 3 + ["no"] * 17}
    ).to_csv(labels, index=False)
    groups = read_labels(labels, names)
    assert set(groups) == {"long", "short", "no", "long no", "short no"}  # three hats are too few to speak of
    data = pd.DataFrame({"photo": names, "edit": "yaw", "similarity": [0.9, 0.7] * 10})
    figure = next(figure for figure in FIGURES if figure.name == "similarity")
    cell = make_cell(figure, data, groups)
    assert cell["value"] == pytest.approx(0.8)
    assert cell["worst_group"] in ("short", "short no") and cell["worst_value"] == pytest.approx(0.7)


def test_figures_of_each_group_at_each_size_of_the_turn():
    sizes = cases.turn_sizes(cases.load_grid("default"))
    assert sizes == {"yaw-30": 30, "yaw-15": 15, "yaw+15": 15, "yaw+30": 30, "pitch-15": 15, "pitch+15": 15}
    names = [f"{k:02d}" for k in range(12)]
    columns = {"pose_asked": 1.0, "pose_pnp": 1.0, "pose_error_pnp": 0.0, "lost": 0.0, "kind": "pose"}
    data = pd.DataFrame(
        {"photo": name, "edit": edit, "similarity": degrees / 100 + (name < "06"), **columns}
        for name in names
        for edit, degrees in sizes.items()
    )
    tables = by_size(data, {"first": names[:6], "last": names[6:]}, sizes)
    values = {size: {g: row["similarity"]["value"] for g, row in table.items()} for size, table in tables.items()}
    assert list(values) == ["15 degrees", "30 degrees"]
    assert values["30 degrees"] == pytest.approx({"all": 0.8, "first": 1.3, "last": 0.3})
    assert values["15 degrees"]["last"] == pytest.approx(0.15)


def test_each_recogniser_has_its_own_figures():
    """The second one finds the other person more alike; its columns do not mix with the first one's."""
    sources = {"a": {"embeddings": {"one": [1, 0], "two": [1, 0]}}, "b": {"embeddings": {"one": [0, 1], "two": [0, 1]}}}
    rows = [{"photo": "a", "edit": "yaw", "kind": "pose", "embeddings": {"one": [0.8, 0.6], "two": [0.6, 0.8]}}]
    data = frame(rows, sources, {"one": 0.7, "two": 0.7})
    names = {figure.name for figure in figures_of(data.columns)}
    assert {"similarity", "margin", "similarity, two", "margin, two"} <= names and "similarity, one" not in names
    table = make_tables(data, {})["identity"]["all"]
    assert [table[f"same person{end}"]["value"] for end in ("", ", two")] == [1, 0]
    assert table["margin"]["value"] == pytest.approx(0.2) and table["margin, two"]["value"] == pytest.approx(-0.2)


def test_what_the_judges_read_of_known_turns_is_on_record():
    judges = known_turns()["judges"]
    assert set(judges) == {"tracker", "PnP", "dlib"} and known_turns()["people"] >= 20
    for axis in ("yaw", "pitch", "roll"):
        assert judges["PnP"][axis]["slope"] == pytest.approx(1, abs=0.05)
        assert judges["dlib"][axis]["slope"] == pytest.approx(1, abs=0.1)


def stored(folder: Path, pictures: list[np.ndarray], edit, mask) -> Path:
    """A report's folder: photos, their edits, and one region that the edit invented."""
    (folder / "views").mkdir(parents=True)
    for k, picture in enumerate(pictures):
        Image.fromarray(picture).save(view_path(folder, f"{k}"), quality=95)
        Image.fromarray(edit(picture)).save(view_path(folder, f"{k}__yaw"), quality=95)
        if mask is not None:
            Image.fromarray(np.uint8(255 * mask)).save(invented_path(folder, f"{k}__yaw"))
    pd.DataFrame({"id": [f"{k}__yaw" for k in range(len(pictures))], "kind": "pose", "edit": "yaw"}).assign(
        photo=[str(k) for k in range(len(pictures))]
    ).to_csv(folder / "metrics.csv", index=False)
    return folder


def test_realism_of_two_systems_is_measured_at_the_same_places(tmp_path):
    """The second one blurs what was invented; where its own report says that lies does not matter."""
    photo, rng = skimage.data.astronaut(), np.random.default_rng(0)
    corners = rng.integers(0, 512 - 128, (16, 2))
    pictures = [np.ascontiguousarray(photo[y : y + 128, x : x + 128]) for y, x in corners]
    mask = np.zeros((128, 128), bool)
    mask[:, 64:] = True

    def blurred(picture):
        return np.where(mask[..., None], skimage.filters.gaussian(picture, 3, channel_axis=2) * 255, picture).astype(
            np.uint8
        )

    still = stored(tmp_path / "still", pictures, lambda picture: picture, mask)
    elsewhere = stored(tmp_path / "blurred", pictures, blurred, ~mask)
    rows = [pd.read_csv(folder / "metrics.csv", dtype={"photo": str}) for folder in (still, elsewhere)]
    entry = realism_side_by_side([still, elsewhere], rows, 1)["yaw"]
    assert entry["patch distance, invented"]["values"][0] == 0
    assert entry["its floor, invented"]["values"][0] == entry["its floor, invented"]["values"][1]
    for name in ("patch distance", "patch distance, invented", "told from photos"):
        difference = entry[name]["differences"][0]
        assert difference["value"] > 0.1 and difference["low"] < difference["value"] < difference["high"], name
    assert entry["told from photos"]["differences"][0]["low"] > 0
    swapped = realism_side_by_side([elsewhere, still], rows[::-1], 1)["yaw"]["patch distance, invented"]
    reached = entry["patch distance, invented"]["values"][1]
    assert swapped["values"] == pytest.approx([0, 0], abs=reached / 10)  # nothing was blurred at the first's places


def test_groups_that_fail_in_realism_are_seen(tmp_path):
    photo, rng = skimage.data.astronaut(), np.random.default_rng(0)
    corners = rng.integers(0, 512 - 128, (24, 2))
    pictures = [np.ascontiguousarray(photo[y : y + 128, x : x + 128]) for y, x in corners]
    count = iter(range(24))
    folder = stored(
        tmp_path / "half",
        pictures,
        lambda p: p if next(count) < 12 else (255 * skimage.filters.gaussian(p, 3, channel_axis=2)).astype(np.uint8),
        None,
    )
    names = [str(k) for k in range(24)]
    cells = realism_of_edit(
        folder, [(name, f"{name}__yaw") for name in names], {"whole": names[:12], "blurred": names[12:]}
    )
    for name in ("patch distance", "told from photos"):
        assert cells[name]["worst_group"] == "blurred" and cells[name]["worst_value"] > cells[name]["value"]
        assert cells[name]["low"] < cells[name]["value"] < cells[name]["high"]
    assert "patch distance, invented" not in cells


def test_built_in_grids_and_errors_in_others(tmp_path):
    assert len(cases.load_grid("default")) == 12
    assert {case.kind for case in cases.edit_cases([Path("a.jpg")], cases.load_grid("default"))} == {
        "zero",
        "pose",
        "expression",
        "light",
        "pose+expression+light",
    }
    bad = tmp_path / "grid.yaml"
    bad.write_text("far: {yaw: 200}")
    with pytest.raises(InstaFaceError, match=r"far: yaw: 200 is out of range"):
        cases.load_grid(bad)
    with pytest.raises(InstaFaceError, match="is no grid"):
        cases.load_grid("nothing")


def test_photos_are_found_and_spread(tmp_path):
    for name in ("b.jpg", "a.png", "c.txt", "d.jpg"):
        (tmp_path / name).touch()
    assert [photo.name for photo in cases.find_photos([tmp_path])] == ["a.png", "b.jpg", "d.jpg"]
    assert [photo.name for photo in cases.find_photos([tmp_path], 2)] == ["a.png", "d.jpg"]
    with pytest.raises(InstaFaceError, match="two photos are called a"):
        cases.find_photos([tmp_path, tmp_path / "a.png"])
    crossed = cases.cross_cases([Path(f"{k}.jpg") for k in range(10)])
    assert len(crossed) == 40 and all(case.driver != case.photo for case in crossed)


def test_a_manifest_names_the_pictures(tmp_path):
    (tmp_path / "manifest.csv").write_text("file,source,edit,driver\nx/1.png,a.jpg,smile,\ny.png,b.jpg,,c.jpg\n")
    files = OutputFolder(tmp_path).files
    assert files == {"a__smile": tmp_path / "x/1.png", "b__c": tmp_path / "y.png"}
    picture = skimage.data.astronaut()
    assert resized(picture, 256, 256).shape == (256, 256, 3)
    with pytest.raises(InstaFaceError, match="does not fit"):
        resized(picture, 300, 256)


def test_commands_evaluate_compare_and_draw_the_sheet(tmp_path, photos, capsys):
    """The editor itself, end to end, as users call it."""
    from instaface.cli.app import app

    def call(*arguments):
        app([str(a) for a in arguments], standalone_mode=False)
        return capsys.readouterr().out

    grid = tmp_path / "grid.yaml"
    grid.write_text("turned: {yaw: 15}\nlit: {light: left}\n")
    call("evaluate", photos, "-o", tmp_path / "one", "--edits", grid, "--jobs", 1)
    metrics = json.loads((tmp_path / "one" / "metrics.json").read_text())
    assert metrics["system"] == "geometric" and metrics["zero"] == {"n": 2, "exact": 2}
    assert 0.5 < value(metrics, "control", "pose slope", "turned") < 1.4
    assert value(metrics, "speed", "seconds") > 0
    out = call("evaluate", "--compare", tmp_path / "one", tmp_path / "one", "-o", tmp_path / "both")
    assert all(Path(line).is_file() for line in out.split())
    sheet = tmp_path / "sheet.png"
    call("sheet", photos, "-o", sheet, "--edits", grid, "--limit", 1, "--jobs", 1)
    assert Image.open(sheet).size == (3 * 288, 288 + 16)
