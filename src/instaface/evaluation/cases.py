"""What is asked of an editor: photos x edits, or sources x driving photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from instaface.edit import Edit
from instaface.errors import InstaFaceError
from instaface.photo import READABLE_SUFFIXES

ZERO = "zero"  # the edit that asks for nothing, part of every run
GRIDS = ("default", "control")
VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv", ".webm")


@dataclass(frozen=True)
class Case:
    """One picture that an editor is asked for.

    Attributes:
        photo: the source.
        name: of the edit, or of the driver.
        edit: what is asked; None where a driver says it.
        driver: photo whose pose, expression, gaze (and light) are taken; None for an edit.
        truth: whether the driver shows the same person in the same scene, so that it is what should come out.
    """

    photo: Path
    name: str
    edit: Edit | None = None
    driver: Path | None = None
    truth: bool = False

    @property
    def source(self) -> str:
        """Name of the source photo; frames of a person carry their folder's name, as many are called 0001."""
        return f"{self.photo.parent.name}-{self.photo.stem}" if self.truth else self.photo.stem

    @property
    def id(self) -> str:
        """Name of the row and of its files."""
        return f"{self.source}__{self.name}"

    @property
    def kind(self) -> str:
        """Which controls the edit moves: "pose", "expression", "gaze", "light", joined by "+"; "zero" for none."""
        edit = self.edit
        if edit is None:
            return "self" if self.truth else "cross"
        angles = (edit.yaw, edit.pitch, edit.roll, edit.turn or None, edit.nod or None, edit.tilt or None)
        asked = {
            "pose": any(angle is not None for angle in angles),
            "expression": bool(edit.weights),
            "gaze": edit.gaze is not None,
            "light": edit.light is not None,
        }
        return "+".join(name for name, is_asked in asked.items() if is_asked) or ZERO


def load_grid(name: str | Path = "default") -> dict[str, Edit]:
    """Edits by name, from a built-in grid (``default``, ``control``) or a YAML file that maps names to edits.

    Raises:
        InstaFaceError: no such grid, or an edit in it is not valid (the message names it).
    """
    import yaml

    path = Path(name) if str(name) not in GRIDS else files(__package__) / "grids" / f"{name}.yaml"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InstaFaceError(f"{name} is no grid of edits: give a YAML file or one of {', '.join(GRIDS)}") from None
    except yaml.YAMLError as error:
        raise InstaFaceError(f"{name} is not YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(values, dict) or not values:
        raise InstaFaceError(f"{name} must map names to edits, such as `yaw+15: {{yaw: 15}}`")
    grid = {}
    for key, value in values.items():
        if key == ZERO or "/" in str(key) or "__" in str(key):
            raise InstaFaceError(f"{name}: an edit cannot be called {key!r}")
        try:
            grid[str(key)] = Edit.from_dict(value)
        except InstaFaceError as error:
            raise InstaFaceError(f"{name}: {key}: {error}") from None
    return grid


def turn_sizes(grid: dict[str, Edit]) -> dict[str, int]:
    """Degrees of each edit of a grid that turns the head and does nothing else."""
    sizes = {}
    for name, edit in grid.items():
        if Case(Path(), name, edit).kind == "pose":
            angles = (edit.yaw, edit.pitch, edit.roll, edit.turn, edit.nod, edit.tilt)
            sizes[name] = round(max(abs(angle or 0) for angle in angles))
    return sizes


def find_photos(inputs: Sequence[Path], limit: int | None = None, every: int = 1) -> list[Path]:
    """The photos among files and folders, sorted by name.

    Args:
        inputs: files and folders.
        limit: at most so many, spread evenly over them.
        every: of each folder only every n-th photo.

    Raises:
        InstaFaceError: nothing there, or two photos of the same name.
    """
    photos: list[Path] = []
    for entry in inputs:
        if entry.is_dir():
            photos += sorted(file for file in entry.iterdir() if file.suffix.lower() in READABLE_SUFFIXES)[::every]
        elif entry.is_file():
            photos.append(entry)
        else:
            raise InstaFaceError(f"{entry} is not there: give photos or folders of photos")
    if not photos:
        raise InstaFaceError(f"no photos in {', '.join(map(str, inputs))}")
    stems = [photo.stem for photo in photos]
    if len(set(stems)) < len(stems):
        twice = next(stem for stem in stems if stems.count(stem) > 1)
        raise InstaFaceError(f"two photos are called {twice}: rename one, rows are told apart by the name")
    return spread(photos, limit)


def spread(items: list[Path], limit: int | None) -> list[Path]:
    """At most ``limit`` items, evenly over the list."""
    if limit is None or limit >= len(items):
        return items
    return [items[round(k * (len(items) - 1) / max(limit - 1, 1))] for k in range(limit)]


def edit_cases(photos: Sequence[Path], grid: dict[str, Edit]) -> list[Case]:
    """Each photo with each edit, and with the edit that asks for nothing."""
    return [Case(photo, name, edit) for photo in photos for name, edit in {ZERO: Edit(), **grid}.items()]


def cross_cases(photos: Sequence[Path], drivers: int = 4) -> list[Case]:
    """Each photo driven by ``drivers`` others, evenly spaced along the list."""
    count = len(photos)
    if count < 2:
        raise InstaFaceError("cross-reenactment needs at least two photos")
    steps = sorted({max(1, round((k + 1) * count / (drivers + 1))) % count or 1 for k in range(drivers)})
    return [
        Case(photo, photos[(index + step) % count].stem, driver=photos[(index + step) % count])
        for index, photo in enumerate(photos)
        for step in steps
    ]


def self_cases(folders: Sequence[Path], frames: int = 8) -> list[Case]:
    """The first frame of each person drives nothing and is driven by the others: a folder of frames is a person."""
    cases = []
    for folder in folders:
        first, *rest = find_photos([folder])
        cases += [Case(first, frame.stem, driver=frame, truth=True) for frame in spread(rest, frames)]
    if not cases:
        raise InstaFaceError("self-reenactment needs folders (or videos) with at least two frames of one person each")
    return cases


def video_frames(video: Path, folder: Path, frames: int = 9) -> Path:
    """Evenly spaced frames of a video as PNG files in ``folder / name``, which is returned."""
    import cv2

    capture = cv2.VideoCapture(str(video))
    total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    if total < 2:
        raise InstaFaceError(f"{video} cannot be read as a video")
    target = folder / video.stem
    target.mkdir(parents=True, exist_ok=True)
    for k in range(frames):
        index = round(k * (total - 1) / (frames - 1))
        capture.set(cv2.CAP_PROP_POS_FRAMES, index)
        read, frame = capture.read()
        if read:
            cv2.imwrite(str(target / f"{video.stem}_{index:06d}.png"), frame)
    capture.release()
    return target
