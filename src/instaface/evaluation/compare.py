"""Two or more reports side by side, and a blind choice between two of them."""

from __future__ import annotations

import base64
import json
import zlib
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from instaface.errors import InstaFaceError
from instaface.evaluation import plots
from instaface.evaluation.figures import TABLES, Figure, figures_of, statistic
from instaface.evaluation.realism import RealismJob, jackknife, realism_of, realism_table
from instaface.evaluation.report import (
    KEY,
    METRICS,
    ROWS_CSV,
    digits_of,
    html_table,
    markdown_table,
    number,
    page,
    plain,
)
from instaface.evaluation.run import in_processes, view_path
from instaface.evaluation.statistics import bootstrap_interval
from instaface.evaluation.tables import ALL, matrices

PAIRS = 50  # of the blind page


def compare(reports: list[Path], folder: Path, workers: int = 1) -> dict[str, Any]:
    """Write ``comparison.json``, ``comparison.md``, ``comparison.html`` and, of the first two, ``blind.html``.

    Args:
        reports: at least two ``metrics.json`` of :func:`instaface.evaluation.evaluate.evaluate`, or their folders.
        folder: where to write.
        workers: processes.

    Returns:
        What ``comparison.json`` holds: for each figure of each edit the systems' values, and the difference of each
        from the first with its paired 95 % interval over the photos that both have. Realism is measured anew on the
        pictures that all have, with the first report's invented regions, where the reports' views are there.

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
    if all("realism" in one["tables"] for one in metrics):
        for edit, figures in realism_side_by_side([path.parent for path in paths], rows, workers).items():
            result["tables"]["realism"].setdefault(edit, {}).update(figures)
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
    by_name = {figure.name: figure for figure in figures_of(set().union(*(one.columns for one in rows)))}
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


def realism_side_by_side(
    folders: list[Path], rows: list[pd.DataFrame], workers: int
) -> dict[str, dict[str, dict[str, Any]]]:
    """By edit and figure, the values of realism on the same pictures of all systems, and their differences.

    The interval of a difference is the jackknife's: in both systems the same people are left out.
    """
    if any(one.empty for one in rows):
        return {}
    shared = set.intersection(*(set(one["id"]) for one in rows))
    made = rows[0][rows[0]["id"].isin({name for name in shared if _views_agree(folders, name)})]
    driven = made["kind"].isin(("self", "cross"))
    sets = {"driven": made[driven]} if driven.any() else dict(list(made.groupby("edit", sort=False)))
    jobs = [
        RealismJob(f"{k} {edit}", folder, tuple(zip(part["photo"], part["id"], strict=True)), {}, folders[0])
        for edit, part in sets.items()
        for k, folder in enumerate(folders)
    ]
    found = dict(in_processes(realism_of, jobs, workers))
    systems = [realism_table({str(edit): found[f"{k} {edit}"] for edit in sets}) for k in range(len(folders))]
    return {
        edit: {name: _difference_of_sets([system[edit][name] for system in systems]) for name in row}
        for edit, row in systems[0].items()
    }


def _views_agree(folders: list[Path], name: str) -> bool:
    """Whether all systems have a picture of this row, of one size."""
    from PIL import Image

    views = [view_path(folder, name) for folder in folders]
    return all(view.is_file() for view in views) and len({Image.open(view).size for view in views}) == 1


def _difference_of_sets(cells: list[dict[str, Any]]) -> dict[str, Any]:
    differences = []
    for cell in cells[1:]:
        value = cell["value"] - cells[0]["value"]
        parts = np.subtract(cell["parts"], cells[0]["parts"])
        differences.append({"value": value} | jackknife(value, parts))
    return {"values": [cell["value"] for cell in cells], "differences": differences}


def _value(cell: dict[str, Any]) -> float:
    return float("nan") if cell["value"] is None else float(cell["value"])


def paired(figure: Figure, one: pd.DataFrame, other: pd.DataFrame, edit: str) -> dict[str, float]:
    """Other less one, on the rows that both have, with its bootstrap interval."""
    if "id" not in one or not set(figure.columns) <= (set(one.columns) & set(other.columns)):
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
    lines += ["", MEANING.format(result["systems"][0]), ""]
    for name, columns, rows in sections(result):
        lines += [f"## {name}", "", *markdown_table(columns, rows), ""]
    return "\n".join(lines)


def html(result: dict[str, Any]) -> str:
    """The comparison in HTML, with bars of the figures that are looked at first."""
    parts = [f"<p>{escape(MEANING.format(result['systems'][0]))}</p>"]
    parts.append("<p><a href=blind.html>Choose blindly between the first two</a></p>")
    found = sections(result)
    for name, columns, rows in found[:1]:
        parts.append(f"<h2>{escape(name)}</h2>" + html_table(columns, rows))
    for edits in result["tables"].values():
        for name in (name for name in edits.get(ALL, {}) if name in KEY):
            named = {edit: row[name]["values"] for edit, row in edits.items() if name in row}
            values = {system: [v[k] for v in named.values()] for k, system in enumerate(result["systems"])}
            if np.isfinite(list(values.values())).all():
                parts.append(plots.image(plots.bars(list(named), values, name), name))
    parts += [f"<h2>{escape(name)}</h2>" + html_table(columns, rows) for name, columns, rows in found[1:]]
    return "".join(parts)


MEANING = (
    "Differences are from {}, with paired 95 % intervals over photos (bootstrap; jackknife for figures of whole sets); "
    "* marks those whose interval leaves out 0."
)


def sections(result: dict[str, Any]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, columns and lines: first the key figures of all edits, then every figure of every edit."""
    head = [*result["systems"], *(f"{name}: difference" for name in result["systems"][1:])]
    whole = {name: entry for edits in result["tables"].values() for name, entry in edits.get(ALL, {}).items()}
    found = [("Key figures, all edits", head, [[n, *_cells(n, whole[n])] for n in KEY if n in whole])]
    for table, edits in result["tables"].items():
        lines = [
            [f"{edit}: {name}", *_cells(name, entry)] for edit, row in edits.items() for name, entry in row.items()
        ]
        found.append((table.capitalize(), head, lines))
    return found


def _cells(name: str, entry: dict[str, Any]) -> list[str]:
    digits = digits_of(name)
    differences = entry.get("differences", [{}] * (len(entry["values"]) - 1))
    return [*(number(v, digits) for v in entry["values"]), *(_difference(d, digits) for d in differences)]


def _difference(difference: dict[str, float], digits: int) -> str:
    if not difference or np.isnan(difference["value"]):
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
    script = script.replace("STAMP", f"{zlib.crc32(script.encode()):08x}")  # choices of another page do not count here
    return page("Which edit is better?", script)


def _data(path: Path) -> str:
    """A stored view as it is, at full size."""
    return "data:image/jpeg;base64," + base64.b64encode(path.read_bytes()).decode()


BLIND = """
<style>body { max-width: none } img { max-width: none } figure { margin: 0 }</style>
<p>Choose the better edit of the source on the left (keys 1, 2, or 0 for no difference). Which system made which is
drawn anew for every pair and every viewer, and shown at the end. Choices stay in this browser.</p>
<p><b id=at></b> <span id=asked></span></p>
<div style="display:flex;gap:.5rem">
<figure><img id=s><figcaption>source</figcaption></figure>
<figure><img id=a><figcaption>1</figcaption></figure>
<figure><img id=b><figcaption>2</figcaption></figure></div>
<p><button data-choice=0>left edit (1)</button><button data-choice=1>right edit (2)</button>
<button data-choice=-1>no difference (0)</button><button id=back>back</button>
<button id=again>start again</button></p><pre id=result></pre>
<script>
const pairs = PAIRS, names = NAMES, key = "blind STAMP", el = id => document.getElementById(id);
let state;
function shuffled(n) {  // Fisher and Yates
  const order = [...Array(n).keys()];
  for (let i = n - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}
function fresh() {
  state = {order: shuffled(pairs.length), flips: pairs.map(() => Math.random() < 0.5), choices: []};
}
function show() {
  const k = state.choices.length, done = k >= pairs.length;
  try { localStorage.setItem(key, JSON.stringify(state)); } catch (e) {}
  el("at").textContent = done ? "done" : (k + 1) + " of " + pairs.length;
  el("asked").textContent = done ? "" : "asked: " + pairs[state.order[k]].id.split("__")[1];
  for (const id of ["s", "a", "b"]) el(id).parentElement.hidden = done;
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
el("back").onclick = () => { state.choices.pop(); show(); };
el("again").onclick = () => { fresh(); show(); };
document.onkeydown = e => { if ("120".includes(e.key)) choose({1: 0, 2: 1, 0: -1}[e.key]); };
try { state = JSON.parse(localStorage.getItem(key)); } catch (e) {}
if (!state || !state.order || state.order.length != pairs.length) fresh();
show();
</script>
"""
