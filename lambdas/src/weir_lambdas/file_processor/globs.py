"""Globs over keys, as .gitignore and Ant spell them: ``*`` stays within a folder, ``**`` does not."""

from __future__ import annotations

import re
from functools import lru_cache

_TOKENS = re.compile(r"\*\*/|\*\*|\*|\?|\[!?\]?[^\]]*\]|.", re.DOTALL)


@lru_cache(256)
def compiled(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression over the whole key."""
    return re.compile("".join(map(_regex, _TOKENS.findall(pattern))), re.DOTALL)


def _regex(token: str) -> str:
    fixed = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    if token in fixed:
        return fixed[token]
    if token.startswith("[") and len(token) > 2:
        inner = token[1:-1]
        negated = inner.startswith("!")
        inner = (inner[1:] if negated else inner).replace("\\", "\\\\").replace("[", "\\[")
        inner = inner.replace("^", "\\^").replace("&&", "&\\&").replace("||", "|\\|")
        return f"[{'^/' if negated else ''}{inner}]"
    return re.escape(token)


def matches(key: str, pattern: str) -> bool:
    """Whether a key matches a glob. A pattern without ``/`` is about the last part of the key."""
    subject = key if "/" in pattern else key.rpartition("/")[2]
    return compiled(pattern).fullmatch(subject) is not None
