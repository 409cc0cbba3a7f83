"""How well FLAME makes the ARKit blendshapes: the linear map of instaface.face.transfer, shown and written.

    python tools/fit_arkit_to_flame.py [--output map.npz]

Needs the user's FLAME files (docs/deca.md). The map takes ARKit weights to FLAME's 50 expression coefficients (standard
deviations) and 3 jaw angles (radians); it is fitted to how MediaPipe's 468 skin landmarks move on OpenHead.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from instaface.errors import InstaFaceError
from instaface.face.flame import FLAME, N_EXPRESSION


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="write names, matrix (53, N) and residual (N,) there")
    options = parser.parse_args()
    try:
        arkit = FLAME.load().arkit
    except InstaFaceError as error:
        sys.exit(f"fit_arkit_to_flame: {error}")
    assert arkit is not None
    table = Table("blendshape", "not made", "jaw (degrees)", "largest coefficients")
    matrix = arkit.matrix.numpy()
    for name, column, residual in zip(arkit.names, matrix.T, arkit.residual.tolist(), strict=True):
        own, jaw = column[:N_EXPRESSION], np.rad2deg(column[N_EXPRESSION:])
        largest = np.argsort(-np.abs(own))[:4]
        table.add_row(
            name,
            f"{100 * residual:.0f} %",
            " ".join(f"{angle:+.1f}" for angle in jaw),
            "  ".join(f"{k}: {own[k]:+.2f}" for k in largest),
        )
    Console().print(table)
    if options.output:
        np.savez(options.output, names=np.array(arkit.names), matrix=matrix, residual=arkit.residual.numpy())


if __name__ == "__main__":
    main()
