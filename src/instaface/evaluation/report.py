"""The report of a run: tables in JSON, CSV, Markdown and one self-contained HTML page."""

from __future__ import annotations

import json
import math
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from instaface.evaluation import plots, realism, sheets
from instaface.evaluation.figures import FIGURES, TABLES
from instaface.evaluation.tables import ALL, Cell, Table

METRICS, ROWS_CSV = "metrics.json", "metrics.csv"
EXTREMES = 4  # best and worst cases shown of each figure
DIGITS = {figure.name: figure.digits for figure in FIGURES} | realism.DIGITS
MEANINGS = {figure.name: figure.text for figure in FIGURES} | realism.TEXTS
# What a reader looks at first.
KEY = (
    *("pose error, PnP", "pose slope, PnP", "expression slope", "landmark distance", "light slope", "lost"),
    *("similarity", "same person at 1 %", "background PSNR", "hair PSNR", "truth PSNR"),
    *(realism.INVENTED, realism.AUC, "FID", "sharpness kept", "seconds"),
)
# Columns of a table that would be too wide, by how their names begin.
PARTS = {
    "control": {"pose": ("pose", "lost"), "expression and light": ("expression", "crosstalk", "landmark", "light")},
    "preservation": {"background": ("background",), "clothes, hair and what is worn": ("clothes", "hair", "worn")},
}
LAST = ("95 % interval", "worst 5 %", "worst group")  # rows below those of the edits

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; display: block; overflow-x: auto }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .6rem; text-align: right; vertical-align: top }
th:first-child, td:first-child { text-align: left; white-space: nowrap }
tr.all td { font-weight: bold; border-top: 2px solid #999 } tr.note td { color: #666; font-size: 12px }
img { max-width: 100%; height: auto } figure { margin: 1rem 0 } figcaption { color: #555; font-size: 13px }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(24rem, 1fr)); gap: 1rem }
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


def digits_of(name: str) -> int:
    """Decimals of a figure; those of a further recogniser end in its name."""
    return DIGITS.get(name, DIGITS.get(name.rpartition(", ")[0], 2))


def meaning_of(name: str) -> str:
    """What a figure is."""
    return MEANINGS.get(name) or f"{MEANINGS[name.rpartition(', ')[0]]}, by {name.rpartition(', ')[2]}"


def columns_of(table: Table) -> list[str]:
    """Figures of a table, in the order of their definition."""
    order = list(MEANINGS)
    used = {name: order.index(name) if name in order else len(order) for row in table.values() for name in row}
    return sorted(used, key=lambda name: used[name])


def parts_of(name: str, table: Table) -> list[tuple[str, list[str]]]:
    """A table's columns, in parts that fit on a page, each with its title."""
    columns, title = columns_of(table), name.capitalize()
    if name not in PARTS:
        return [(title, columns)] if columns else []
    parts = [(f"{title}: {part}", [c for c in columns if c.startswith(start)]) for part, start in PARTS[name].items()]
    return [(part, chosen) for part, chosen in parts if chosen]


def lines_of(table: Table, columns: list[str], names: bool) -> list[list[str]]:
    """Rows of text: each edit, all of them, and what the last rows say of all: interval, tail, worst group.

    Beside the value of an edit stands that of the worst group in brackets, with its name where ``names`` says so.
    """
    lines = []
    for edit, row in table.items():
        values = [value_of(name, row.get(name)) for name in columns]
        worst = [worst_of(name, row.get(name, {}), names) if edit != ALL else "" for name in columns]
        lines.append([edit, *(" ".join(pair).strip() for pair in zip(values, worst, strict=True))])
    lines = [line for line in lines if any(line[1:])]
    notes = [[label, *(beside(label, name, table.get(ALL, {}).get(name, {})) for name in columns)] for label in LAST]
    return lines + [line for line in notes if any(line[1:])]


def value_of(name: str, cell: Cell | None) -> str:
    """The value of a cell."""
    return number(cell["value"], digits_of(name)) if cell else ""


def worst_of(name: str, cell: Cell, names: bool) -> str:
    """The value of the worst group in brackets, where it is not that of all."""
    digits = digits_of(name)
    if "worst_group" not in cell or number(cell["worst_value"], digits) == number(cell["value"], digits):
        return ""
    group = f"{cell['worst_group']} " if names else ""
    return f"({group}{number(cell['worst_value'], digits)})"


def beside(label: str, name: str, cell: Cell) -> str:
    """What stands below a value, for one of ``LAST``."""
    digits = digits_of(name)
    if label == LAST[0] and number(cell.get("low")):
        return f"{number(cell['low'], digits)} to {number(cell['high'], digits)}"
    if label == LAST[1]:
        return number(cell.get("tail"), digits)
    if label == LAST[2] and "worst_group" in cell:
        return f"{cell['worst_group']}: {number(cell['worst_value'], digits)}"
    return ""


def key_lines(metrics: dict[str, Any]) -> list[list[str]]:
    """The figures that are looked at first: name, value, interval, tail, worst group."""
    whole = {name: cell for table in metrics["tables"].values() for name, cell in table.get(ALL, {}).items()}
    found = [name for name in KEY if name in whole]
    return [[n, value_of(n, whole[n]), *(beside(label, n, whole[n]) for label in LAST)] for n in found]


def size_lines(metrics: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Tables by group at each size of the turn: title, columns, lines."""
    tables = []
    for size, table in metrics.get("by_size", {}).items():
        columns = columns_of(table)
        lines = [[group, *(value_of(name, row.get(name)) for name in columns)] for group, row in table.items()]
        tables.append((f"Groups at {size}", columns, lines))
    return tables


def judge_lines(metrics: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """What the judges of pose read of known turns: columns and lines."""
    lines = []
    for judge, axes in metrics["judges"]["judges"].items():
        for axis, summary in axes.items():
            read = ", ".join(f"{int(turn):+d}: {value:+.1f}" for turn, value in summary["read"].items())
            lines.append([f"{judge}, {axis}", read, f"{summary['slope']:.2f}", f"{summary['error']:.1f}"])
    return ["turn: what is read", "slope", "error"], lines


def cost_lines(metrics: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """GMAC of an edit by part of the model: columns and lines."""
    parts = metrics["model"]["cost"]
    lines = [
        [p["part"], str(p["calls"]), f"{p['gmac']:.3g}", f"{p['parameters'] / 1e6:.2f}" if p["parameters"] else ""]
        for p in parts
    ]
    whole = ["one edit", "", f"{sum(p['gmac'] for p in parts):.3g}", f"{sum(p['parameters'] for p in parts) / 1e6:.2f}"]
    return ["runs", "GMAC", "M parameters"], [*lines, whole]


def sections(metrics: dict[str, Any], names: bool) -> list[tuple[str, str, list[str], list[list[str]]]]:
    """All tables: title, what the reader must know, columns, lines; the first cell of a line is its name.

    ``names`` as for :func:`lines_of`.
    """
    found = [("Key figures", "", ["all edits", *LAST], key_lines(metrics))]
    for name in TABLES:
        if table := metrics["tables"].get(name):
            for part, columns in parts_of(name, table):
                text = "; ".join(f"{column}: {meaning_of(column)}" for column in columns)
                found.append((part, text, columns, lines_of(table, columns, names)))
    found += [(title, "", columns, lines) for title, columns, lines in size_lines(metrics)]
    if metrics["model"]:
        found.append(("Cost by part", "", *cost_lines(metrics)))
    if metrics["judges"]:
        people = metrics["judges"]["people"]
        text = (
            f"Degrees, means over renderings of {people} training faces; error: root mean square of what is read of "
            "all three angles less what is known, to be held against the pose errors above."
        )
        found.append(("What the judges of pose read of a known turn", text, *judge_lines(metrics)))
    return [section for section in found if section[3]]


def notes_of(metrics: dict[str, Any]) -> list[str]:
    """What a reader must know to read the tables."""
    return [
        f"Made with `{metrics['command']}`.",
        "In brackets the value of the worst group, where groups are given. Below each table, of all edits together: "
        "the 95 % interval (bootstrap over photos; jackknife for figures of "
        "whole sets); the value that the worst 5 % of the rows reach or pass; the worst group.",
        *metrics["notes"],
    ]


def markdown(metrics: dict[str, Any]) -> str:
    """The report's tables in Markdown."""
    lines = [f"# {title(metrics)}", "", *(f"- {note}" for note in notes_of(metrics)), ""]
    for name, text, columns, rows in sections(metrics, names=False):
        lines += [f"## {name}", "", *markdown_table(columns, rows), ""]
        lines += [text[0].upper() + text[1:].rstrip(".") + ".", ""] if text else []
    return "\n".join(lines)


def markdown_table(columns: list[str], rows: list[list[str]]) -> list[str]:
    """One table; the line of all edits is bold."""
    lines = ["| | " + " | ".join(columns) + " |", "| --- |" + " ---: |" * len(columns)]
    for row in rows:
        cells = [f"**{cell}**" if row[0] == ALL and cell else cell for cell in row]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def html_tables(metrics: dict[str, Any]) -> str:
    """All tables, with what their columns mean."""
    parts = ["<ul>", *(f"<li>{escape(note)}</li>" for note in notes_of(metrics)), "</ul>"]
    for name, text, columns, rows in sections(metrics, names=True):
        parts.append(f"<h2>{escape(name)}</h2>" + html_table(columns, rows))
        parts.append(f"<details><summary>columns</summary><p>{escape(text)}</p></details>" if text else "")
    return "".join(parts)


def html_table(columns: list[str], rows: list[list[str]]) -> str:
    """One table; the lines from that of all edits on stand apart."""
    head = "".join(f"<th>{escape(name)}</th>" for name in columns)
    body = []
    for row in rows:
        kind = " class=all" if row[0] == ALL else " class=note" if row[0] in LAST else ""
        body.append(f"<tr{kind}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
    return f"<table><tr><th></th>{head}</tr>{''.join(body)}</table>"
