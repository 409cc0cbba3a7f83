"""Plots of a report, as HTML with the pictures inside."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import Any

import numpy as np
import pandas as pd

POSE_JUDGES = {"pose_got": "by the tracker", "pose_pnp": "by PnP", "pose_five": "by dlib's five points"}
SLOPES: tuple[tuple[str, dict[str, str], str, str], ...] = (
    ("pose_asked", POSE_JUDGES, "pose", "turn of the head, degrees"),
    ("expression_asked", {"expression_got": ""}, "expression", "change of expression weights"),
    ("light_asked", {"light_got": ""}, "light", "change of the cheeks' log2 luminance ratio"),
)


def all_plots(data: pd.DataFrame) -> str:
    """What was asked against what came out; identity by edit."""
    parts = ["<h2>Plots</h2><div class=plots>"]
    for asked, got, kind, label in SLOPES:
        if asked in data and len(part := data[data["kind"].str.contains(f"{kind}|self|cross")]):
            parts.append(image(asked_against_got(part, asked, got, label), label))
    if "similarity" in data:
        parts.append(image(boxes(data[data["kind"] != "zero"], "similarity"), "similarity of source and edit"))
    return "".join([*parts, "</div>"])


def asked_against_got(data: pd.DataFrame, asked: str, got: dict[str, str], label: str) -> Any:
    """A point a row and judge, and the diagonal where a perfect editor lies; ``got`` maps columns to names."""
    figure, axes = _axes()
    for column, name in got.items():
        axes.scatter(data[asked], data[column], s=8, alpha=0.5, label=name)
    if len(got) > 1:
        axes.legend()
    ends = [float(np.nanmin([data[asked].min(), 0])), float(data[asked].max())]
    axes.plot(ends, ends, color="black", linewidth=1)
    axes.set(xlabel=f"asked: {label}", ylabel="came out")
    return figure


def boxes(data: pd.DataFrame, column: str) -> Any:
    """A box an edit: quartiles, and whiskers from the 5th to the 95th percentile."""
    figure, axes = _axes()
    edits = list(dict.fromkeys(data["edit"]))[:40]
    values = [data.loc[data["edit"] == edit, column].dropna().to_numpy(float) for edit in edits]
    axes.boxplot([v if len(v) else [np.nan] for v in values], whis=(5, 95), sym="")
    axes.set_xticks(range(1, len(edits) + 1), edits, rotation=60, ha="right")
    axes.set(ylabel=column)
    return figure


def bars(names: list[str], values: dict[str, list[float]], label: str) -> Any:
    """Groups of bars: a group a name, a bar a system."""
    figure, axes = _axes()
    width = 0.8 / len(values)
    for k, (system, heights) in enumerate(values.items()):
        axes.bar(np.arange(len(names)) + k * width, heights, width, label=system)
    axes.set_xticks(np.arange(len(names)) + 0.4 - width / 2, names, rotation=60, ha="right")
    axes.set(ylabel=label)
    axes.legend()
    return figure


def image(figure: Any, caption: str) -> str:
    """A matplotlib figure as an HTML figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
    return embed(buffer.getvalue(), "png", caption)


def embed(data: bytes, kind: str, caption: str) -> str:
    """Picture bytes as an HTML figure."""
    return (
        f"<figure><img alt='{escape(caption)}' src='data:image/{kind};base64,{base64.b64encode(data).decode()}'>"
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _axes() -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4))
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    return figure, axes
