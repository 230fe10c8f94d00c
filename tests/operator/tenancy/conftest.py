"""The tenancy room's world, importable by its tests."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from tenancy_world import make_world

__all__ = ["make_world"]
