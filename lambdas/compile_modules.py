"""Compiles an archive's modules: ``python -I -S lambdas/compile_modules.py INTO < names``.

Each line is a module's name in the archive, a tab, and its file; its compiled form is written under
``INTO``. It runs in an interpreter of its own, of the runtime's version and with nothing else loaded,
since what ``marshal`` writes depends on which names the process has in use.
"""

from __future__ import annotations

import importlib.util
import py_compile
import sys
from pathlib import Path

TASK = "/var/task"
"""Where Lambda unpacks an archive (Lambda Developer Guide, *Environment variables*)."""


def main(into: Path) -> None:
    """Compile what standard input names; what this Python cannot compile is left out."""
    for line in sys.stdin:
        name, file = line.rstrip("\n").split("\t")
        py_compile.compile(
            file,
            str(into / importlib.util.cache_from_source(name, optimization="")),
            dfile=f"{TASK}/{name}",
            quiet=2,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
