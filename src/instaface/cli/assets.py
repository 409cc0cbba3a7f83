"""``instaface assets``: files of other projects that users add under their own licences."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from instaface.cli import console
from instaface.errors import InstaFaceError

if TYPE_CHECKING:
    from instaface.assets import Entry

app = typer.Typer(
    help="Files that you add under their owners' licences: FLAME, DECA, textures (docs/deca.md).",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.command(no_args_is_help=True)
def add(
    files: Annotated[list[Path], typer.Argument(help="Files, or folders with such files.", show_default=False)],
) -> None:
    """Recognise, check and convert files.

    Each file is known by its content, whatever its name. Nothing in it is executed.

    [b]Example[/b]

    instaface assets add generic_model.pkl landmark_embedding.npy head_template.obj deca_model.tar
    """
    from instaface import assets

    known, failed = _recognised(files)
    added = 0
    for paths in known.values():
        try:
            if len(paths) > 1:
                raise InstaFaceError(_several(paths))
            with console.working(f"Reading {paths[0].name}"):
                entry = assets.add(paths[0])
        except InstaFaceError as error:
            failed.append(error)
            continue
        added += 1
        _show(entry)
    for earlier in failed[:-1]:
        console.err.print(f"instaface: {earlier}", markup=False)
    if failed:
        raise failed[-1]
    if not added:
        raise InstaFaceError(f"{files[0]}: nothing that InstaFace knows; docs/deca.md lists the files")


@app.command("list")
def list_() -> None:
    """Show what was added, its licence, its checksum, and where it lies."""
    from instaface import assets

    entries = assets.entries()
    console.out.print(f"{assets.home() / 'assets'}: {len(entries)} file{'s' * (len(entries) != 1)}", markup=False)
    for entry in entries:
        _show(entry)


@app.command()
def verify() -> None:
    """Compare the converted files with their checksums."""
    from instaface import assets

    bad = 0
    for entry, problem in assets.verify():
        console.out.print(f"{entry.kind}: {problem or 'as converted'}", markup=False)
        bad += problem is not None
    if bad:
        raise InstaFaceError(f"{bad} file{'s' * (bad != 1)} damaged: add again with `instaface assets add`")


@app.command(no_args_is_help=True)
def remove(
    kinds: Annotated[list[str], typer.Argument(help="Names as in [b]list[/b], such as deca.", show_default=False)],
) -> None:
    """Delete converted files; the files you added them from are not touched."""
    from instaface import assets

    for kind in kinds:
        console.out.print(f"{assets.remove(kind).kind}: removed", markup=False)


def _recognised(given: list[Path]) -> tuple[dict[str, list[Path]], list[InstaFaceError]]:
    """Files by kind, and what is wrong with the others; a folder may hold files that are none of ours."""
    from instaface import assets

    known: dict[str, list[Path]] = {}
    failed: list[InstaFaceError] = []
    for path, in_folder in _files(given):
        try:
            with console.working(f"Looking at {path.name}"):
                same = known.setdefault(assets.recognise(path)[0].name, [])
        except InstaFaceError as error:
            if in_folder and isinstance(error, assets.UnknownFile):
                console.err.print(f"{path.name}: left out, no file that InstaFace knows", markup=False)
            else:
                failed.append(error)
            continue
        if path.resolve() not in [other.resolve() for other in same]:
            same.append(path)
    return known, failed


def _several(paths: list[Path]) -> str:
    """FLAME's folder holds three models of one structure, of which only one is DECA's."""
    names = ", ".join(path.name for path in paths[:-1])
    generic = next((path for path in paths if path.name == "generic_model.pkl"), None)
    hint = f": {generic} for DECA" if generic else ""
    return f"{names} and {paths[-1].name} are of one kind, and one of them can be there; add it alone{hint}"


def _files(given: list[Path]) -> Iterator[tuple[Path, bool]]:
    """Files, and whether each came out of a folder."""
    for path in given:
        if path.is_dir():
            yield from ((p, True) for p in sorted(path.iterdir()) if p.is_file() and not p.name.startswith("."))
        else:
            yield path, False


def _show(entry: Entry) -> None:
    console.out.print(f"{entry.kind}: {entry.title}", markup=False)
    console.out.print(f"  from     {entry.source}, SHA-256 {entry.source_sha256}", markup=False)
    if "release" in entry.facts:
        console.out.print(f"  release  {entry.facts['release']}, as published", markup=False)
    console.out.print(f"  licence  {entry.licence}", markup=False)
    for note in entry.notes:
        console.out.print(f"  note     {note}", markup=False)
