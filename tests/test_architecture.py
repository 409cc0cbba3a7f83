"""Imports run one way, and importing loads nothing heavy."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import skimage.data
from PIL import Image

SOURCE = Path(__file__).resolve().parents[1] / "src" / "instaface"
ALL = "*"

# Room: the rooms that it may import. Every room may import the errors.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "assets": set(),
    "photo": set(),
    "face": {"assets"},
    "render": {"face"},
    "recognise": {"assets", "photo"},
    "track": {"assets", "photo", "face", "render"},
    "edit": {"face", "track"},
    "draft": {"photo", "face", "render", "track", "edit"},
    "diffusion": {"assets", "photo", "face", "render", "recognise", "track", "edit", "draft"},
    "editor": {"assets", "photo", "face", "render", "recognise", "track", "edit", "draft", "diffusion"},
    "training": {ALL},
    "evaluation": {ALL},
    "cli": {ALL},
    "app": {ALL},
    "__init__": {ALL},
    "__main__": {"cli"},
}
# What even a room that may import all may not.
NEVER = {"training": {"evaluation", "cli", "app"}, "evaluation": {"training", "cli", "app"}, "cli": {"app"}}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms that a module imports, anywhere in it."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names = [node.module or ""]
            if node.module == "instaface":
                names = [f"instaface.{alias.name}" for alias in node.names]
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name.startswith("instaface.")}
    return rooms - {"__version__"}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_run_one_way(path):
    room = room_of(path)
    assert room in MAY_IMPORT, f"a new room: say in this table what {room} may import"
    allowed = MAY_IMPORT[room] | {room, "errors"}
    for other in imported_rooms(path):
        assert (ALL in allowed or other in allowed) and other not in NEVER.get(room, set()), f"{room} imports {other}"


def loaded_by(code: str) -> set[str]:
    """Names of the modules that a fresh Python has loaded after some code."""
    code = f"import sys; sys.path.insert(0, {str(SOURCE.parent)!r}); {code}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"torch", "numba", "mediapipe", "cv2", "scipy", "skimage", "PIL", "diffusers", "transformers", "pydantic"}


@pytest.mark.parametrize(
    ("statement", "allowed"),
    [("import instaface", set()), ("from instaface import Edit; Edit(yaw=3)", set())],
)
def test_importing_loads_nothing_heavy(statement, allowed):
    assert not (HEAVY - allowed) & loaded_by(statement)


def loaded_by_an_edit(folder: Path, *options: str) -> set[str]:
    """Names of the modules that a fresh Python has loaded after ``instaface edit`` of the astronaut."""
    Image.fromarray(skimage.data.astronaut()).save(folder / "photo.png")
    command = ["edit", str(folder / "photo.png"), *options, "-o", str(folder / "out.png")]
    loaded = loaded_by(f"from instaface.cli.app import app; app({command}, standalone_mode=False)")
    assert (folder / "out.png").exists() and "mediapipe" in loaded
    return loaded


@pytest.mark.parametrize("options", [["--yaw", "20", "--renderer", "geometric"], ["--expression", "smile"]])
def test_a_geometric_edit_loads_nothing_that_takes_longer_than_itself(tmp_path, options):
    loaded = loaded_by_an_edit(tmp_path, *options, "--gaze", "camera", "--light", "left")
    assert not loaded & {"torch", "matplotlib", "mediapipe.tasks", "diffusers", "transformers"}


def test_an_edit_with_the_embedded_model_leaves_loading_it_to_another_process(tmp_path):
    assert not loaded_by_an_edit(tmp_path, "--yaw", "20") & {"torch", "diffusers", "transformers"}


def test_the_models_process_loads_neither_the_libraries_that_it_was_made_with_nor_what_draws():
    loaded = loaded_by("from instaface.diffusion import process, corrector; corrector.Corrector.load()")
    made_with = {"diffusers", "transformers", "peft", "accelerate", "torch._dynamo", "sympy", "scipy.stats"}
    assert "torch" in loaded and not loaded & (made_with | {"numba", "mediapipe", "instaface.draft", "instaface.track"})
