"""What is evaluated: this project's editor, or pictures that another tool made."""

from __future__ import annotations

import csv
import time
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from instaface.assets import MINI
from instaface.edit import Edit
from instaface.errors import InstaFaceError
from instaface.evaluation.cases import Case
from instaface.face import FaceParameters
from instaface.photo import READABLE_SUFFIXES, read_photo
from instaface.track import TrackedFace

MANIFEST = "manifest.csv"


@dataclass(frozen=True)
class Output:
    """What came out.

    Attributes:
        pixels: (H, W, 3) uint8, the size of the photo.
        seconds: time of the edit, tracking excluded; NaN where unknown.
        processor_seconds: the same of this process's processors, which other work on the machine does not lengthen.
        coverage: (h, w) float32 over the source's frame, of the tracker's own face model (1 seen, 0.5 mirrored, 0
            invented); None where the system does not come by it.
    """

    pixels: NDArray[np.uint8]
    seconds: float = float("nan")
    processor_seconds: float = float("nan")
    coverage: NDArray[np.float32] | None = None


class System(Protocol):
    """Makes the pictures that are evaluated."""

    def render(self, source: TrackedFace, case: Case, target: FaceParameters) -> Output:
        """The picture for a case; ``target`` holds the parameters that it should show.

        Raises:
            InstaFaceError: there is none; the row says so.
        """


BY_DEFAULT = "default"  # the renderer that an edit gets where none is asked for


@dataclass(frozen=True)
class SystemOptions:
    """Which system: pictures in ``outputs`` where given, else the editor with these options.

    Attributes:
        renderer: of the editor; "default" for the one that it chooses for each edit.
        outputs: folder of another tool's pictures.
        face_model: of the editor.
        model: folder or hub id of the diffusion renderer's model, None for the one that ships.
        personal: LoRA file for it, or a folder of them: SOURCE.safetensors for each photo.
    """

    renderer: str = "geometric"
    outputs: Path | None = None
    face_model: str = "openhead"
    model: str | None = None
    personal: Path | None = None

    @property
    def name(self) -> str:
        """For tables."""
        if self.outputs:
            return self.outputs.name
        parts = [self.renderer if self.model is None else f"{self.renderer} {Path(self.model).name}"]
        parts += [self.face_model] if self.face_model != "openhead" else []
        return " ".join([*parts, "personalised"] if self.personal else parts)

    def check(self) -> None:
        """Raises InstaFaceError where the options do not fit together, before any photo is read."""
        from instaface.editor import RENDERERS

        if self.renderer not in (BY_DEFAULT, *RENDERERS):
            allowed = ", ".join((BY_DEFAULT, *RENDERERS))
            raise InstaFaceError(f"--renderer {self.renderer!r} is unknown, allowed are {allowed}")
        if self.renderer != "diffusion" and (self.model or self.personal):
            raise InstaFaceError(f"--model and --personal are for --renderer diffusion, not {self.renderer}")
        if self.renderer == "diffusion":
            self._pipeline()

    def describe(self) -> dict[str, Any]:
        """Of the model: where it is, its size and steps, the recogniser it was trained with, GMAC by part."""
        if self.renderer != "diffusion" or self.outputs:
            return {}
        from instaface.diffusion.cost import pipeline_cost

        pipeline = self._pipeline()
        parts = [asdict(cost) | {"gmac": cost.total / 1e9} for cost in pipeline_cost(pipeline)]
        chosen = {name: pipeline.config[name] for name in ("size", "steps", "strength", "recogniser")}
        return {
            "path": str(self.model or MINI),
            "personal": self.personal and str(self.personal),
            **chosen,
            "cost": parts,
        }

    def _pipeline(self) -> Any:
        from instaface.diffusion.corrector import load_pipeline

        return load_pipeline(self.model, None)


@cache
def open_system(options: SystemOptions) -> System:
    """The system, loaded once in a process."""
    return OutputFolder(options.outputs) if options.outputs else EditorSystem(options)


class EditorSystem:
    """This project's editor. What it makes is judged by the same tracker, whatever its own face model."""

    def __init__(self, options: SystemOptions):
        from instaface.editor import Editor

        self.options = options
        self._renderer = None if options.renderer == BY_DEFAULT else options.renderer
        self.editor = Editor(options.face_model, options.model, str(options.personal) if options.personal else None)
        self._personal: Path | None = None
        self._measured: tuple[TrackedFace, TrackedFace] | None = None  # the last source, in the editor's own terms

    def render(self, source: TrackedFace, case: Case, target: FaceParameters) -> Output:
        face, edit = source, target
        self._know(case)
        if source.model != self.editor.model.name:
            face, edit = self._in_own_terms(source, case)
        start, busy = time.perf_counter(), time.process_time()
        result = self.editor.edit(face, edit, renderer=self._renderer)
        seconds, busy = time.perf_counter() - start, time.process_time() - busy
        return Output(result.image.pixels, seconds, busy, result.coverage if face is source else None)

    def _know(self, case: Case) -> None:
        """Takes the adapter of the case's person, where each has one; the last person's model is let go."""
        folder, options = self.options.personal, self.options
        if folder is None or not folder.is_dir():
            return
        adapter = folder / f"{case.source}.safetensors"
        if self._personal == adapter:
            return
        from instaface.diffusion.corrector import load_pipeline
        from instaface.editor import Editor

        load_pipeline.cache_clear()
        load_pipeline(options.model, str(adapter))  # loading is no part of an edit's time
        self.editor, self._personal = Editor(options.face_model, options.model, str(adapter)), adapter

    def _in_own_terms(self, source: TrackedFace, case: Case) -> tuple[TrackedFace, FaceParameters]:
        """The source as the editor's own face model measures it, and what the case asks for there."""
        if self._measured is None or self._measured[0] is not source:
            self._measured = (source, self.editor.track(source.photo)[source.index])
        face = self._measured[1]
        if case.driver is None:
            assert case.edit is not None
            return face, self.editor.apply(face, case.edit)
        drivers = self.editor.track(case.driver)
        if not drivers:
            raise InstaFaceError(f"{case.driver} shows no face")
        return face, self.editor.apply(face, Edit(), drivers[0])


class OutputFolder:
    """Pictures of another tool.

    ``manifest.csv`` in the folder has a row a picture with the columns ``file``, ``source``, and ``edit`` (a name in
    the grid) or ``driver`` (a photo's name); without it a picture is called SOURCE__EDIT or SOURCE__DRIVER, names
    without suffix. A picture of another size than its source is scaled to it; the aspect ratio must be the same.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.files = self._manifest() if (folder / MANIFEST).is_file() else self._by_name()
        if not self.files:
            raise InstaFaceError(f"{folder} has no pictures called SOURCE__EDIT.png and no {MANIFEST}")

    def _manifest(self) -> dict[str, Path]:
        with (self.folder / MANIFEST).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if rows and not {"file", "source"} <= set(rows[0]):
            raise InstaFaceError(f"{self.folder / MANIFEST} needs the columns file, source, and edit or driver")
        return {
            f"{Path(row['source']).stem}__{row.get('edit') or Path(row['driver']).stem}": self.folder / row["file"]
            for row in rows
        }

    def _by_name(self) -> dict[str, Path]:
        files = sorted(self.folder.iterdir()) if self.folder.is_dir() else []
        return {file.stem: file for file in files if file.suffix.lower() in READABLE_SUFFIXES and "__" in file.stem}

    def render(self, source: TrackedFace, case: Case, target: FaceParameters) -> Output:
        if case.id not in self.files:
            raise InstaFaceError(f"no picture {case.id} in {self.folder}")
        pixels = read_photo(self.files[case.id]).pixels
        return Output(resized(pixels, source.photo.width, source.photo.height))


def resized(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A picture brought to the size of its source."""
    import cv2

    if pixels.shape[:2] == (height, width):
        return pixels
    if abs(pixels.shape[1] / pixels.shape[0] / (width / height) - 1) > 0.01:
        raise InstaFaceError(
            f"a picture of {pixels.shape[1]} x {pixels.shape[0]} pixels does not fit its source of {width} x {height}"
        )
    shrinks = pixels.shape[1] > width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(pixels, (width, height), interpolation=method).astype(np.uint8)
