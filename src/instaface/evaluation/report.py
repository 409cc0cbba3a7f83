"""The report of a run: tables in JSON, CSV, Markdown and one self-contained HTML page."""

from __future__ import annotations

import json
import math
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from instaface.evaluation import plots, sheets
from instaface.evaluation.figures import FIGURES, TABLES
from instaface.evaluation.realism import TEXTS
from instaface.evaluation.tables import ALL, Cell, Table

METRICS, ROWS_CSV = "metrics.json", "metrics.csv"
EXTREMES = 4  # best and worst cases shown of each figure
DIGITS = {figure.name: figure.digits for figure in FIGURES}
MEANINGS = {figure.name: figure.text for figure in FIGURES} | TEXTS

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; display: block; overflow-x: auto }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .6rem; text-align: right; vertical-align: top }
th:first-child, td:first-child { text-align: left; white-space: nowrap }
td small { color: #777; display: block; white-space: nowrap }
img { max-width: 100%; height: auto } figure { margin: 1rem 0 } figcaption { color: #555; font-size: 13px }
button { font: inherit; padding: .4rem 1rem; margin-right: .5rem }
"""


def write_report(folder: Path, data: pd.DataFrame, metrics: dict[str, Any]) -> None:
    """Write ``metrics.json``, ``metrics.csv``, ``report.md`` and ``report.html``.

    Args:
        folder: of the report; stored views are read from it.
        data: the rows.
        metrics: what :func:`instaface.evaluation.evaluate.summarise` made.
    """
    (folder / METRICS).write_text(json.dumps(plain(metrics), indent=1), encoding="utf-8")
    data.to_csv(folder / ROWS_CSV, index=False)
    (folder / "report.md").write_text(markdown(metrics), encoding="utf-8")
    body = html_tables(metrics) + plots.all_plots(data) + sheets.contact_sheets(folder, data)
    body += sheets.extremes(folder, data, EXTREMES)
    (folder / "report.html").write_text(page(title(metrics), body), encoding="utf-8")


def title(metrics: dict[str, Any]) -> str:
    """One line that says what was measured."""
    return f"{metrics['system']}: {metrics['photos']} photos, {metrics['protocol']}"


def page(name: str, body: str) -> str:
    """A whole HTML page that needs no other file."""
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(name)}</title>"
        f"<meta name=viewport content='width=device-width'><style>{STYLE}</style><h1>{escape(name)}</h1>{body}</html>"
    )


def plain(value: Any) -> Any:
    """Values as strict JSON has them: NaN is null, infinity the text "inf"."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def number(value: Any, digits: int = 2) -> str:
    """A number for people."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return "∞" if math.isinf(float(value)) else f"{float(value):.{digits}f}"


def columns_of(table: Table) -> list[str]:
    """Figures of a table, in the order of their definition."""
    used = {name for row in table.values() for name in row}
    return [name for name in MEANINGS if name in used]


def cell_parts(name: str, cell: Cell | None) -> tuple[str, str]:
    """A cell's value, and what stands small beside it: interval, worst group."""
    if not cell:
        return "", ""
    digits = DIGITS.get(name, 2)
    notes = []
    if number(cell.get("low")):
        notes.append(f"[{number(cell['low'], digits)}, {number(cell['high'], digits)}]")
    if "tail" in cell:
        notes.append(f"5 %: {number(cell['tail'], digits)}")
    if worst := _worst(name, cell):
        notes.append(worst)
    return number(cell["value"], digits), "; ".join(notes)


def notes_of(metrics: dict[str, Any]) -> list[str]:
    """What a reader must know to read the tables."""
    return [
        f"Made with `{metrics['command']}`.",
        "Beside each value: its 95 % bootstrap interval over photos; the value that the worst 5 % of the rows reach or "
        "pass; the worst group and its value, where groups are given.",
        *metrics["notes"],
    ]


def markdown(metrics: dict[str, Any]) -> str:
    """The report's tables in Markdown."""
    lines = [f"# {title(metrics)}", "", *(f"- {note}" for note in notes_of(metrics)), ""]
    for name in TABLES:
        if table := metrics["tables"].get(name):
            lines += [f"## {name.capitalize()}", "", *markdown_table(table), ""]
            lines += [f"- *{figure}*: {MEANINGS[figure]}" for figure in columns_of(table)] + [""]
    return "\n".join(lines)


def markdown_table(table: Table) -> list[str]:
    """One table; the row of all edits carries intervals, the others the worst group alone."""
    columns = columns_of(table)
    lines = ["| edit | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for edit, row in table.items():
        cells = []
        for column in columns:
            value, beside = cell_parts(column, row.get(column))
            worst = _worst(column, row.get(column, {}))
            cells.append(
                f"**{value}** {beside}" if edit == ALL and value else f"{value} {worst and f'({worst})'}".strip()
            )
        lines.append(f"| {edit} | " + " | ".join(cells) + " |")
    return lines


def _worst(name: str, cell: Cell) -> str:
    """The worst group and its value, where that is not the value of all."""
    digits = DIGITS.get(name, 2)
    if "worst_group" not in cell or number(cell["worst_value"], digits) == number(cell["value"], digits):
        return ""
    return f"{cell['worst_group']}: {number(cell['worst_value'], digits)}"


def html_tables(metrics: dict[str, Any]) -> str:
    """All tables, with what their columns mean."""
    parts = ["<ul>", *(f"<li>{escape(note)}</li>" for note in notes_of(metrics)), "</ul>"]
    for name in TABLES:
        if table := metrics["tables"].get(name):
            parts += [f"<h2>{name.capitalize()}</h2>", html_table(table)]
    return "".join(parts)


def html_table(table: Table) -> str:
    """One table."""
    columns = columns_of(table)
    head = "".join(f"<th title='{escape(MEANINGS[name])}'>{escape(name)}</th>" for name in columns)
    rows = []
    for edit, row in table.items():
        cells = (cell_parts(name, row.get(name)) for name in columns)
        rows.append(
            f"<tr><td>{escape(edit)}</td>"
            + "".join(f"<td>{value}<small>{escape(beside)}</small></td>" for value, beside in cells)
            + "</tr>"
        )
    meanings = "".join(f"<li><b>{escape(name)}</b>: {escape(MEANINGS[name])}</li>" for name in columns)
    table_html = f"<table><tr><th>edit</th>{head}</tr>{''.join(rows)}</table>"
    return f"{table_html}<details><summary>columns</summary><ul>{meanings}</ul></details>"
