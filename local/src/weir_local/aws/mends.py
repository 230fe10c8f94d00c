"""The table of mends: where the emulator is kinder than AWS, and what AWS does.

Each mend is one module that goes through MiniStack's dictionaries and module attributes; the
package itself is never edited.
"""

from __future__ import annotations

import importlib
import logging
from dataclasses import dataclass

logger = logging.getLogger("weir.local.aws")


@dataclass(frozen=True)
class Mend:
    """One mended gap.

    :param module: its module in this package, with ``install()`` and maybe ``uninstall()``
    :param aws: what AWS does
    :param page: the AWS documentation page that says so
    """

    module: str
    aws: str
    page: str


MENDS: tuple[Mend, ...] = ()


def install() -> None:
    """Install every mend, in the table's order, into the imported MiniStack."""
    for mend in MENDS:
        importlib.import_module(f"weir_local.aws.{mend.module}").install()


def uninstall() -> None:
    """End what mends started: job processes, threads, pools."""
    for mend in reversed(MENDS):
        stop = getattr(importlib.import_module(f"weir_local.aws.{mend.module}"), "uninstall", None)
        if stop is None:
            continue
        try:
            stop()
        except Exception:  # noqa: BLE001 - the process ends: what the others hold must still end
            logger.exception("could not end the mend %s", mend.module)
