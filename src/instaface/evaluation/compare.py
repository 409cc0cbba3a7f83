"""Two or more reports side by side, and a blind choice between two of them."""

from __future__ import annotations

import base64
import json
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from instaface.errors import InstaFaceError
from instaface.evaluation import plots
from instaface.evaluation.figures import FIGURES, TABLES, Figure, statistic
from instaface.evaluation.report import DIGITS, METRICS, ROWS_CSV, number, page, plain
from instaface.evaluation.run import view_path
from instaface.evaluation.sheets import jpeg
from instaface.evaluation.statistics import bootstrap_interval
from instaface.evaluation.tables import ALL, matrices

PAIRS = 60  # of the blind page
BLIND_SIZE = 384  # pixels


def compare(reports: list[Path], folder: Path) -> dict[str, Any]:
    """Write ``comparison.json``, ``comparison.md``, ``comparison.html`` and, of the first two, ``blind.html``.

    Args:
        reports: at least two ``metrics.json`` of :func:`instaface.evaluation.evaluate.evaluate`, or their folders.
        folder: where to write.

    Returns:
        What ``comparison.json`` holds: for each figure of each edit the systems' values, and the difference of each
        from the first with its paired 95 % bootstrap interval over the photos that both have.

    Raises:
        InstaFaceError: fewer than two reports, or one cannot be read.
    """
    if len(reports) < 2:
        raise InstaFaceError("--compare needs at least two reports")
    paths = [report / METRICS if report.is_dir() else report for report in reports]
    metrics = [_load(path) for path in paths]
    rows = [_rows(path) for path in paths]
    names = _names(metrics)
    result: dict[str, Any] = {"systems": names, "reports": [str(path) for path in paths], "tables": {}}
    for table in TABLES:
        compared = _compare_table(table, metrics, rows)
        if compared:
            result["tables"][table] = compared
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "comparison.json").write_text(json.dumps(plain(result), indent=1), encoding="utf-8")
    (folder / "comparison.md").write_text(markdown(result), encoding="utf-8")
    (folder / "comparison.html").write_text(page(" against ".join(names), html(result)), encoding="utf-8")
    blind = blind_page(paths[0].parent, paths[1].parent, rows[0], rows[1], names[:2])
    (folder / "blind.html").write_text(blind, encoding="utf-8")
    return result


def _load(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError):
        raise InstaFaceError(f"{path} is no report: give a {METRICS} that `instaface evaluate` wrote") from None


def _rows(path: Path) -> pd.DataFrame:
    """The rows beside a ``metrics.json``; none where that file stands alone."""
    table = path.parent / ROWS_CSV
    return pd.read_csv(table, dtype={"photo": str, "edit": str}) if table.is_file() else pd.DataFrame()


def _names(metrics: list[dict[str, Any]]) -> list[str]:
    """Names of the systems, numbered where two are the same."""
    names = [one["system"] for one in metrics]
    return [f"{name} {k + 1}" if names.count(name) > 1 else name for k, name in enumerate(names)]


def _compare_table(table: str, metrics: list[dict[str, Any]], rows: list[pd.DataFrame]) -> dict[str, Any]:
    tables = [one["tables"].get(table, {}) for one in metrics]
    by_name = {figure.name: figure for figure in FIGURES}
    out: dict[str, Any] = {}
    for edit in tables[0]:
        for name in tables[0][edit]:
            cells = [one.get(edit, {}).get(name) for one in tables]
            if None in cells:
                continue
            entry: dict[str, Any] = {"values": [_value(cell) for cell in cells]}
            if figure := by_name.get(name):
                entry["differences"] = [paired(figure, rows[0], other, edit) for other in rows[1:]]
            out.setdefault(edit, {})[name] = entry
    return out


def _value(cell: dict[str, Any]) -> float:
    return float("nan") if cell["value"] is None else float(cell["value"])


def paired(figure: Figure, one: pd.DataFrame, other: pd.DataFrame, edit: str) -> dict[str, float]:
    """Other less one, on the rows that both have, with its bootstrap interval."""
    if not set(figure.columns) <= (set(one.columns) & set(other.columns)):
        return {}
    both = one.merge(other[["id", *figure.columns]], on="id", suffixes=("", " other"))
    both = both[[figure.concerns(kind) for kind in both["kind"]]]
    both = both if edit == ALL else both[both["edit"] == edit]
    if both.empty:
        return {}
    columns = matrices(figure, both)
    renamed = both.drop(columns=list(figure.columns)).rename(columns={f"{c} other": c for c in figure.columns})
    others = matrices(figure, renamed)
    missing = np.isnan(columns[-1]) | np.isnan(others[-1])
    columns, others = (tuple(np.where(missing, np.nan, c) for c in side) for side in (columns, others))
    count = len(columns)

    def difference(*all_columns: Any) -> Any:
        before, after = statistic(figure, all_columns[:count]), statistic(figure, all_columns[count:])
        with np.errstate(invalid="ignore"):
            return np.where(before == after, 0.0, after - before)  # two infinite figures do not differ

    low, high = bootstrap_interval((*columns, *others), difference)
    return {"value": float(difference(*columns, *others)), "low": low, "high": high, "n": int((~missing).sum())}


def markdown(result: dict[str, Any]) -> str:
    """The comparison in Markdown."""
    lines = [f"# {' against '.join(result['systems'])}", ""]
    lines += [f"- {name}: `{path}`" for name, path in zip(result["systems"], result["reports"], strict=True)]
    lines += ["", f"Differences are from {result['systems'][0]}, with paired 95 % bootstrap intervals over photos;", ""]
    lines[-2] += " * marks those whose interval leaves out 0."
    for table, edits in result["tables"].items():
        lines += [f"## {table.capitalize()}", "", "| " + " | ".join(_head(result)) + " |"]
        lines += ["| --- | --- |" + " ---: |" * (len(_head(result)) - 2)]
        lines += ["| " + " | ".join(line) + " |" for line in _lines(edits)] + [""]
    return "\n".join(lines)


def html(result: dict[str, Any]) -> str:
    """The comparison in HTML, with bars of the whole set's figures."""
    parts = [f"<p>Differences are from {escape(result['systems'][0])}; * : the 95 % interval leaves out 0.</p>"]
    for table, edits in result["tables"].items():
        head = "".join(f"<th>{escape(name)}</th>" for name in _head(result))
        body = "".join("<tr>" + "".join(f"<td>{escape(v)}</td>" for v in line) + "</tr>" for line in _lines(edits))
        parts.append(f"<h2>{table.capitalize()}</h2><table><tr>{head}</tr>{body}</table>")
        for name in edits.get(ALL, {}):
            named = {edit: row[name]["values"] for edit, row in edits.items() if name in row}
            values = {system: [v[k] for v in named.values()] for k, system in enumerate(result["systems"])}
            if np.isfinite(list(values.values())).all():
                parts.append(plots.image(plots.bars(list(named), values, name), name))
    return "".join(parts) + "<p><a href=blind.html>Choose blindly between the first two</a></p>"


def _head(result: dict[str, Any]) -> list[str]:
    return ["edit", "figure", *result["systems"], *(f"{name}: difference" for name in result["systems"][1:])]


def _lines(edits: dict[str, Any]) -> list[list[str]]:
    lines = []
    for edit, row in edits.items():
        for name, entry in row.items():
            digits = DIGITS.get(name, 2)
            differences = [_difference(d, digits) for d in entry.get("differences", [{}] * (len(entry["values"]) - 1))]
            lines.append([edit, name, *(number(value, digits) for value in entry["values"]), *differences])
    return lines


def _difference(difference: dict[str, float], digits: int) -> str:
    if not difference:
        return ""
    value, low, high = (difference[key] for key in ("value", "low", "high"))
    sure = " *" if low > 0 or high < 0 else ""
    return f"{value:+.{digits}f} [{number(low, digits)}, {number(high, digits)}]{sure}"


def blind_page(one: Path, other: Path, rows: pd.DataFrame, other_rows: pd.DataFrame, names: list[str]) -> str:
    """A page that shows two systems' pictures of the same case side by side, in random order, and counts choices."""
    shared = sorted(set(rows.get("id", ())) & set(other_rows.get("id", ())))
    shared = [name for name in shared if view_path(one, name).is_file() and view_path(other, name).is_file()]
    chosen = np.random.default_rng(0).permutation(len(shared))[:PAIRS]
    pairs = []
    for k in chosen:
        source = shared[k].split("__")[0]
        pictures = (view_path(one, source), view_path(one, shared[k]), view_path(other, shared[k]))
        pairs.append({"id": shared[k], "pictures": [_data(path) for path in pictures]})
    script = BLIND.replace("PAIRS", json.dumps(pairs)).replace("NAMES", json.dumps(names))
    return page("Which edit is better?", script)


def _data(path: Path) -> str:
    from PIL import Image

    image = Image.open(path).convert("RGB")
    image.thumbnail((BLIND_SIZE, BLIND_SIZE))
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(np.asarray(image), 90)).decode()


BLIND = """
<p>The source is on the left. Choose the better edit (keys 1, 2, or 0 for no difference); which system made which is
shown at the end. Choices stay in this browser.</p>
<p id=at></p><div style="display:flex;gap:1rem"><img id=s><img id=a><img id=b></div>
<p><button data-choice=0>left edit (1)</button><button data-choice=1>right edit (2)</button>
<button data-choice=-1>no difference (0)</button><button id=again>start again</button></p><pre id=result></pre>
<script>
const pairs = PAIRS, names = NAMES, key = "blind " + location.pathname;
let state;
function fresh() {
  const order = pairs.map((_, i) => i).sort(() => Math.random() - 0.5);
  state = {order, flips: pairs.map(() => Math.random() < 0.5), choices: []};
}
function show() {
  const k = state.choices.length, done = k >= pairs.length, el = id => document.getElementById(id);
  localStorage.setItem(key, JSON.stringify(state));
  el("at").textContent = done ? "done" : (k + 1) + " of " + pairs.length;
  for (const id of ["s", "a", "b"]) el(id).hidden = done;
  if (!done) {
    const p = pairs[state.order[k]].pictures, flip = state.flips[k];
    el("s").src = p[0]; el("a").src = p[flip ? 2 : 1]; el("b").src = p[flip ? 1 : 2];
  }
  const counts = [0, 0, 0];
  for (const c of state.choices) counts[c.system < 0 ? 2 : c.system]++;
  el("result").textContent = !done ? "" : names[0] + ": " + counts[0] + "\\n" + names[1] + ": " + counts[1] +
    "\\nno difference: " + counts[2] + "\\n\\n" + JSON.stringify(state.choices);
}
function choose(side) {
  const k = state.choices.length;
  if (k >= pairs.length) return;
  const system = side < 0 ? -1 : (state.flips[k] ? 1 - side : side);
  state.choices.push({id: pairs[state.order[k]].id, system});
  show();
}
document.querySelectorAll("[data-choice]").forEach(b => b.onclick = () => choose(+b.dataset.choice));
document.getElementById("again").onclick = () => { fresh(); show(); };
document.onkeydown = e => { if ("120".includes(e.key)) choose({1: 0, 2: 1, 0: -1}[e.key]); };
try { state = JSON.parse(localStorage.getItem(key)); } catch (e) {}
if (!state || !state.order || state.order.length != pairs.length) fresh();
show();
</script>
"""
