"""The command line: a thin face over :class:`instaface.editor.Editor`."""

from __future__ import annotations

import gc
import os
import sys


def main() -> None:
    """Entry point. Exit status: 0 done, 1 the input cannot be used as asked, 2 wrong usage."""
    from instaface.cli.app import WrongUsage, app
    from instaface.errors import InstaFaceError

    try:
        app(prog_name="instaface")
    except WrongUsage as error:
        _fail(error, 2)
    except InstaFaceError as error:
        _fail(error, 1)
    except Exception as error:
        if os.environ.get("INSTAFACE_DEBUG"):
            raise
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        _fail(f"this should not have happened ({reason}); INSTAFACE_DEBUG=1 shows where, please report it", 1)
    finally:
        gc.freeze()  # else Python looks through all that was ever loaded before it ends: half a second


def _fail(message: object, status: int) -> None:
    print(f"instaface: {message}", file=sys.stderr)
    sys.exit(status)
