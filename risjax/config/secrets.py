"""Passwords in URLs, which are masked before anything is written or printed."""

import re
from typing import Any

MASK = "***"
"""Replacement of a password wherever a configuration is stored or shown."""

# Greedy up to the last "@", so that a password which itself holds "@", ":" or "/" is hidden whole.
_USER_INFO = re.compile(r"(?P<head>[A-Za-z][A-Za-z0-9+.\-]*://[^:/@\s]*:)\S*(?P<tail>@)")
_QUERY = re.compile(r"(?P<head>[?&;][\w.\-]*(?:password|passwd|pwd|token|secret)=)[^&\s;]*", re.IGNORECASE)


def mask(text: str) -> str:
    """``text`` with the password of every URL in it replaced by ``***``.

    Example:
        >>> mask("postgresql://ada:s3cret@host/db")
        'postgresql://ada:***@host/db'
    """
    return _QUERY.sub(rf"\g<head>{MASK}", _USER_INFO.sub(rf"\g<head>{MASK}\g<tail>", text))


def mask_tree(value: Any) -> Any:
    """`mask` on every string of nested dicts, lists and tuples."""
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {key: mask_tree(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(mask_tree(entry) for entry in value)
    return value


def is_masked(text: str) -> bool:
    """Return True if `mask` has replaced the password of a URL in ``text``."""
    return f":{MASK}@" in text or f"={MASK}" in text
