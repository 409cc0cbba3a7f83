"""The commands ``prepare``, ``pairs``, ``init``, ``train``, ``distill`` and ``personalize``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from instaface.cli.options import FaceModel, FaceModels
from instaface.errors import InstaFaceError

STAGES = ("autoencoder", "1", "2")

Config = Annotated[Path, typer.Option(metavar="FILE.yaml", help="The model and its stages.", show_default=False)]


def train(
    stage: Annotated[str, typer.Option(help="[b]autoencoder[/b], [b]1[/b] (control) or [b]2[/b] (identity).")],
    config: Config,
    data: Annotated[Path, typer.Option(help="Photos (autoencoder), or a dataset that [b]instaface prepare[/b] made.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="RUN", help="Folder of the run.")],
    init: Annotated[Path | None, typer.Option(metavar="MODEL", help="Start from this model's weights.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the run's last checkpoint.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show options and sizes, and train nothing.")] = False,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Replace an option: [b]stage1.batch=8[/b]. Repeatable."),
    ] = None,
) -> None:
    """Train one stage on the hardware at hand.

    With several GPUs or machines: [b]accelerate launch -m instaface train ...[/b]

    [b]Examples[/b]

    instaface train --stage autoencoder --config configs/mini.yaml --data photos/ -o runs/autoencoder

    instaface train --stage 1 --config configs/mini.yaml --data dataset/ -o runs/1 --init runs/autoencoder/model
    """
    if stage not in STAGES:
        raise InstaFaceError(f"--stage {stage!r} is unknown, allowed are {', '.join(STAGES)}")
    from instaface.training.config import load_config
    from instaface.training.loop import train as run
    from instaface.training.sources import sources

    options_of_run = load_config(config, _changes(options or []))
    training, validation = sources(stage, options_of_run, data)  # type: ignore[arg-type]
    folder = run(options_of_run, stage, training, validation, output, init, resume, dry_run)  # type: ignore[arg-type]
    if not dry_run:
        typer.echo(folder)


def init(
    base: Annotated[str, typer.Option(help="Stable Diffusion 1.5: a folder or a hub id.")],
    vision: Annotated[str, typer.Option(help="CLIP ViT-L/14: a folder or a hub id.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="MODEL", help="Folder of the new model.")],
    face: Annotated[
        str, typer.Option(help="Recogniser of the face tokens: [b]arcface[/b] or [b]dlib[/b].")
    ] = "arcface",
    config: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="Take maps and fusion from this config.")
    ] = None,
) -> None:
    """Build the full-size model from published weights.

    The Guidance Network starts as a copy of the diffusion network and changes nothing until it is trained.

    [b]Example[/b]

    instaface init --base stable-diffusion-v1-5 --vision clip-vit-large-patch14 -o models/full
    """
    from instaface.training.init import init_model

    typer.echo(init_model(base, vision, face, output, config))


def prepare(
    photos: Annotated[Path, typer.Argument(help="A folder of photos.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DATASET", help="Folder of the dataset.")],
    size: Annotated[int, typer.Option(help="Side of the aligned pictures in pixels.", min=64)] = 512,
    recogniser: Annotated[list[str] | None, typer.Option(help="Whose embeddings to store; repeatable.")] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="A column [b]file[/b], and others such as [b]group[/b].")
    ] = None,
    shard_size: Annotated[int, typer.Option(help="Photos in one shard.", min=1)] = 500,
    face_model: FaceModel = FaceModels.openhead,
    jobs: Annotated[int, typer.Option("-j", "--jobs", help="Processes; 0 for all cores.", min=0)] = 0,
) -> None:
    """Make a dataset of photos: find, measure and align the faces.

    A run that was stopped goes on where it was. What is left out is listed with the reason beside each shard.

    [b]Example[/b]

    instaface prepare photos/ -o dataset/ --labels photos.csv
    """
    from instaface.training.prepare import prepare as run

    count = run(photos, output, size, recogniser or ["dlib"], labels, shard_size, jobs, face_model.value)
    typer.echo(f"{count} faces in {output}")


def pairs(
    data: Annotated[Path, typer.Argument(metavar="DATASET", help="From [b]instaface prepare[/b].", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="SAMPLES", help="Folder of the samples.")],
    config: Config,
    per_face: Annotated[int, typer.Option(help="Pairs of each face.", min=1)] = 2,
    jobs: Annotated[int, typer.Option("-j", "--jobs", help="Processes; 0 for all cores.", min=0)] = 0,
    split: Annotated[str | None, typer.Option(help="Only [b]training[/b] or [b]validation[/b] faces.")] = None,
    options: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Replace an option: [b]data.turn=20[/b]. Repeatable."),
    ] = None,
) -> None:
    """Make training pairs in advance, where making them would keep the networks waiting.

    [b]Example[/b]

    instaface pairs dataset/ -o samples/ --config configs/mini.yaml --per-face 3
    """
    from instaface.training.config import load_config
    from instaface.training.samples import make_samples

    chosen = load_config(config, _changes(options or []))
    typer.echo(f"{make_samples(data, chosen, output, per_face, jobs=jobs, split=split)} samples in {output}")


def distill(
    data: Annotated[Path, typer.Argument(metavar="DATASET", help="From [b]instaface prepare[/b].", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FOLDER", help="Folder of the recogniser.")],
    recogniser: Annotated[str, typer.Option(help="The teacher, whose embeddings the dataset holds.")] = "dlib",
    options: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Replace an option: [b]steps=5000[/b].")
    ] = None,
) -> None:
    """Teach a small differentiable recogniser another one's embeddings, for the identity loss of stage 2.

    [b]Example[/b]

    instaface distill dataset/ -o runs/recogniser
    """
    from pydantic import ValidationError

    from instaface.training.recogniser import DistillConfig
    from instaface.training.recogniser import distill as run
    from instaface.training.sources import embedded

    try:
        chosen = DistillConfig(**_changes(options or []))  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        raise InstaFaceError(f"--set {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    figures = run(*embedded(data, recogniser, chosen.size), chosen, output)
    typer.echo(f"{output}: cosine similarity to {recogniser} {figures['similarity']:.3f} on faces held out")


def personalize(
    photo: Annotated[Path, typer.Argument(help="A photo of the person.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.safetensors", help="The adapter.")],
    model: Annotated[str, typer.Option(metavar="PATH", help="The model that it is for.", show_default=False)],
    config: Config,
    steps: Annotated[int | None, typer.Option(help="Updates; by default the config's.", min=1)] = None,
    face: Annotated[int, typer.Option(help="Which face of the photo, largest first.", min=0)] = 0,
    face_model: FaceModel = FaceModels.openhead,
) -> None:
    """Learn one person from one photo, as a small adapter (LoRA).

    [b]Example[/b]

    instaface personalize me.jpg -o me.safetensors --model models/mini --config configs/mini.yaml
    """
    from instaface.training.config import load_config
    from instaface.training.personalize import personalize as run

    changes = {} if steps is None else {"personalize.steps": steps}
    typer.echo(run(photo, output, Path(model), load_config(config, changes), face, face_model.value))


def _changes(options: list[str]) -> dict[str, object]:
    """``a.b=3`` to {"a.b": 3}; values are YAML."""
    import yaml

    changes: dict[str, object] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise InstaFaceError(f"--set {option!r}: write NAME=VALUE")
        changes[name] = yaml.safe_load(value)
    return changes
