"""Commands and their options. Nothing heavy is imported before a command does its work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from instaface import __version__
from instaface.cli import evaluating, training
from instaface.cli.assets import app as assets
from instaface.cli.options import Face, FaceModel, FaceModels, Renderer
from instaface.edit import DRIVEN, EXPRESSIONS, LIGHTS, Edit, parse_driven, sweep
from instaface.errors import InstaFaceError


class WrongUsage(InstaFaceError):
    """An option has a value that no photo could make right."""


app = typer.Typer(
    name="instaface",
    help="Edit the face in a photo by number: head pose, expression, gaze and light.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.add_typer(assets, name="assets")

POSE, LOOK, OUTPUT = "Head pose (degrees)", "Expression, gaze, light", "Output"

Photos = Annotated[list[Path], typer.Argument(help="Photos, or folders with photos.", show_default=False)]
OnePhoto = Annotated[Path, typer.Argument(help="A photo.", show_default=False)]
Model = Annotated[
    str | None,
    typer.Option(metavar="PATH_OR_HUB_ID", help="Model of the diffusion renderer.", show_default=False),
]
Personal = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="What [b]instaface personalize[/b] learned.", show_default=False),
]
Seed = Annotated[int, typer.Option(help="Seed of the renderer's random numbers.", min=0)]
EditFile = Annotated[
    Path | None,
    typer.Option("--edit", metavar="FILE.json", help="An edit as JSON; the other options come on top of it."),
]
Drive = Annotated[Path | None, typer.Option(metavar="PHOTO", help="Take numbers from the face in another photo.")]
DriveWhat = Annotated[str, typer.Option(help=f"What to take from it: any of {', '.join(DRIVEN)}.")]


def _angle(help: str) -> Any:
    return typer.Option(help=help, rich_help_panel=POSE, show_default=False)


def _look(metavar: str, help: str) -> Any:
    return typer.Option(metavar=metavar, help=help, rich_help_panel=LOOK, show_default=False)


YAW = _angle("Absolute; positive turns the nose to the right edge of the picture.")
PITCH = _angle("Absolute; positive raises the nose.")
ROLL = _angle("Absolute; positive tilts the head clockwise as seen.")
TURN, NOD, TILT = _angle("Added to the yaw."), _angle("Added to the pitch."), _angle("Added to the roll.")
EXPRESSION = _look(
    "NAMES",
    "Absolute weights 0 to 1 of ARKit names and presets: [b]smile=0.8,jawOpen=0.2[/b]. "
    f"[b]neutral[/b] sets all others to 0. Presets: {', '.join(EXPRESSIONS)}.",
)
GAZE = _look("X,Y | camera", "Degrees relative to the head, signs as yaw and pitch; [b]camera[/b] looks into the lens.")
LIGHT = _look(
    "NAME | NUMBERS",
    "[b]azimuth=60,elevation=20,strength=1,ambient=0.3[/b] or a preset, left and right as in the picture: "
    f"{', '.join(LIGHTS)}.",
)


def _version(shown: bool) -> None:
    if shown:
        typer.echo(f"instaface {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@app.command(no_args_is_help=True)
def edit(
    photos: Photos,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", help="A file, or a folder where there are several photos.", rich_help_panel=OUTPUT
        ),
    ],
    yaw: Annotated[float | None, YAW] = None,
    pitch: Annotated[float | None, PITCH] = None,
    roll: Annotated[float | None, ROLL] = None,
    turn: Annotated[float | None, TURN] = None,
    nod: Annotated[float | None, NOD] = None,
    tilt: Annotated[float | None, TILT] = None,
    expression: Annotated[str | None, EXPRESSION] = None,
    gaze: Annotated[str | None, GAZE] = None,
    light: Annotated[str | None, LIGHT] = None,
    drive: Drive = None,
    drive_what: DriveWhat = ",".join(DRIVEN),
    edit_file: EditFile = None,
    face: Face = "largest",
    face_model: FaceModel = FaceModels.openhead,
    renderer: Renderer = None,
    model: Model = None,
    personal: Personal = None,
    seed: Seed = 0,
    maps: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write normals, albedo, shading, ... there.", rich_help_panel=OUTPUT),
    ] = None,
    sheet: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Before and after, side by side.", rich_help_panel=OUTPUT),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Numbers before and after, timings, versions.", rich_help_panel=OUTPUT),
    ] = None,
) -> None:
    """Edit photos.

    What is not asked for stays as it is; pixels outside the edit stay to the bit.
    Colour profile and camera metadata are kept, and the metadata of the written
    picture says that it was edited.

    [b]Examples[/b]

    instaface edit me.jpg -o out.jpg --yaw 20

    instaface edit me.jpg -o out.jpg --expression smile=0.8 --light left

    instaface edit holiday/ -o edited/ --gaze camera --face all --sheet sheet.png

    instaface edit me.jpg -o out.png --drive friend.jpg --drive-what pose,expression
    """
    with_values = _given(
        yaw=yaw, pitch=pitch, roll=roll, turn=turn, nod=nod, tilt=tilt, expression=expression, gaze=gaze, light=light
    )
    asked = _usage(Edit.load, edit_file) if edit_file else Edit()
    asked = asked | _usage(Edit, **with_values)
    _usage(parse_driven, drive_what)

    from instaface.cli import editing

    job = editing.Job(
        asked, drive, drive_what, face, face_model.value, renderer and renderer.value, seed, maps, model, personal
    )
    editing.run(job, photos, output, sheet, report)


@app.command(no_args_is_help=True)
def inspect(
    photo: OnePhoto,
    json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    draw: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Write the photo with the fitted mesh and the numbers.")
    ] = None,
    face_model: FaceModel = FaceModels.openhead,
) -> None:
    """Show the faces in a photo: pose, expression, gaze, light.

    [b]Examples[/b]

    instaface inspect me.jpg

    instaface inspect group.jpg --json --draw faces.png
    """
    from instaface.cli import inspecting

    inspecting.run(photo, json, draw, face_model.value)


@app.command("sweep", no_args_is_help=True)
def sweep_command(
    photo: OnePhoto,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            help="A strip (.png, .jpg), an animation (.gif, .mp4), or a folder for all of them and every picture.",
            rich_help_panel=OUTPUT,
        ),
    ],
    yaw: Annotated[str | None, YAW] = None,
    pitch: Annotated[str | None, PITCH] = None,
    roll: Annotated[str | None, ROLL] = None,
    turn: Annotated[str | None, TURN] = None,
    nod: Annotated[str | None, NOD] = None,
    tilt: Annotated[str | None, TILT] = None,
    expression: Annotated[str | None, EXPRESSION] = None,
    gaze: Annotated[str | None, GAZE] = None,
    light: Annotated[str | None, LIGHT] = None,
    face: Face = "largest",
    face_model: FaceModel = FaceModels.openhead,
    renderer: Renderer = None,
    seed: Seed = 0,
    fps: Annotated[float, typer.Option(help="Pictures per second of an animation.", min=0.1, max=60)] = 8.0,
) -> None:
    """Run numbers through a range: a strip of pictures or an animation.

    Any number of any option may be a range start:stop:count. Several ranges run together. MP4 needs ffmpeg.

    [b]Examples[/b]

    instaface sweep me.jpg -o turn.png --yaw -30:30:7

    instaface sweep me.jpg -o smile.gif --expression smile=0:1:12

    instaface sweep me.jpg -o lamp/ --light azimuth=-90:90:13,elevation=20
    """
    options = _given(
        yaw=yaw, pitch=pitch, roll=roll, turn=turn, nod=nod, tilt=tilt, expression=expression, gaze=gaze, light=light
    )
    edits = _usage(sweep, options)

    from instaface.cli import sweeping

    sweeping.run(photo, output, edits, face, face_model.value, renderer and renderer.value, seed, fps)


@app.command()
def demo(
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the pictures.")] = Path("demo"),
) -> None:
    """Edit a photo that comes with the installation, in nine ways, and show the results on one sheet."""
    from instaface.cli import demonstration

    demonstration.run(output)


app.command(no_args_is_help=True)(evaluating.evaluate)
app.command(no_args_is_help=True)(evaluating.sheet)
for _command in (
    training.prepare,
    training.pairs,
    training.init,
    training.train,
    training.distill,
    training.personalize,
):
    app.command(no_args_is_help=True, rich_help_panel="Training")(_command)


def _given(**options: Any) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _usage(function: Any, *args: Any, **kwargs: Any) -> Any:
    """Call; what is wrong with the values of options is wrong usage."""
    try:
        return function(*args, **kwargs)
    except InstaFaceError as error:
        raise WrongUsage(str(error)) from None
