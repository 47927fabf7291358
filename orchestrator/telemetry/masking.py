"""Secrets do not belong into log lines: what stands under a name such as `password` or `token` is masked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

MASK = "***"
_WORDS = (
    r"password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|authorization|cookie"
)
_KEY = re.compile(rf"(?:^|[^a-z])(?:pg)?(?:{_WORDS})s?(?:$|[^a-z])", re.IGNORECASE)
# `password=x`, `"token": "x"`, `Authorization: Bearer x`, `FUSTGO_API_KEY=x`.
_PAIR = re.compile(
    rf"((?:{_WORDS})s?[\"']?\s*[=:]\s*)"
    r"(\"[^\"]*\"|'[^']*'|(?:(?:bearer|basic)\s+)?[^\s,;&\"')}\]]+)",
    re.IGNORECASE,
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_URL = re.compile(r"(://[^:/@\s]*:)[^/@\s]+@")
_hiding: list[Callable[[str], str]] = []


@contextmanager
def hiding(mask: Callable[[str], str]) -> Iterator[None]:
    """Within it texts also go through `mask`, which knows the secrets of who is at work."""
    _hiding.append(mask)
    try:
        yield
    finally:
        _hiding.remove(mask)


def masked(value: Any, key: str = "") -> Any:
    """The value without secrets: of mappings by their keys, of text by what it looks like."""
    if key and value is not None and is_secret(key):
        return MASK
    if isinstance(value, str):
        return masked_text(value)
    if isinstance(value, Mapping):
        return {name: masked(one, str(name)) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [masked(one) for one in value]
    return value


@lru_cache(1024)
def is_secret(key: str) -> bool:
    """Whether what stands under this name is a secret: `DB_PASSWORD`, `accessToken`, `api-key`."""
    return bool(_KEY.search(_CAMEL.sub("_", key)))


def masked_text(text: str) -> str:
    """The text without passwords in URLs and values of `name=value` and `name: value` that are secret."""
    for mask in _hiding:
        text = mask(text)
    return _PAIR.sub(rf"\1{MASK}", _URL.sub(rf"\1{MASK}@", text))
