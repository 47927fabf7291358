"""A repository by its address: what git is told of it, and what people are.

User and password of an `https://` address are neither in the arguments of a process nor in a message: git
asks a credential helper for them, which has them from its environment. A user alone is taken for a token.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, unquote, urlsplit

from orchestrator.errors import UsageError
from orchestrator.settings.values import without_password

# What would lead git elsewhere, or make it tell more than was asked; see `git rev-parse --local-env-vars`.
_ELSEWHERE = {
    *("GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_CEILING_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG"),
    *("GIT_CONFIG_PARAMETERS", "GIT_DIR", "GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE"),
    *("GIT_INDEX_FILE", "GIT_NAMESPACE", "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX"),
    *("GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_TEMPLATE_DIR", "GIT_WORK_TREE", "GIT_CURL_VERBOSE"),
    *("GIT_ATTR_SOURCE", "GIT_EXTERNAL_DIFF", "GIT_QUARANTINE_PATH", "GIT_LITERAL_PATHSPECS", "SSH_ASKPASS"),
}
_ASK_NOBODY = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "SSH_ASKPASS_REQUIRE": "never",
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    "LC_ALL": "C",
}
_HELPER = (
    '!f() { test "$1" = get && '
    'printf "username=%s\\npassword=%s\\n" "$FUSTGO_GIT_USER" "$FUSTGO_GIT_PASSWORD"; }; f'
)


@dataclass(frozen=True)
class Remote:
    """A repository: its address without what is secret, and the secrets apart."""

    url: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def key(self) -> str:
        """What its mirror is called."""
        return hashlib.sha256(self.url.encode()).hexdigest()[:20]

    def environment(self) -> dict[str, str]:
        """What git runs with: nobody is asked, and what is secret is told to nobody but this server."""
        kept = {
            name: text
            for name, text in os.environ.items()
            if not (name in _ELSEWHERE or name.startswith(("FUSTGO_", "GIT_TRACE")))
        }
        return kept | _ASK_NOBODY | (self._credentials() if self.user or self.password else {})

    def masked(self, text: str) -> str:
        """The text without the secrets."""
        secret = self.password or self.user
        text = text.replace(secret, "***") if secret else text
        if self.user:
            text = re.sub(rf"(?<![\w.-]){re.escape(self.user)}(?=[@:])", "***", text)
        return without_password(text)

    def _credentials(self) -> dict[str, str]:
        parts = urlsplit(self.url)
        key = f"credential.{parts.scheme}://{parts.netloc}.helper"
        given = os.environ.get("GIT_CONFIG_COUNT", "")
        first = int(given) if given.isdecimal() else 0
        return {
            "GIT_CONFIG_COUNT": str(first + 2),
            f"GIT_CONFIG_KEY_{first}": key,
            f"GIT_CONFIG_VALUE_{first}": "",  # no other helper is asked, or told
            f"GIT_CONFIG_KEY_{first + 1}": key,
            f"GIT_CONFIG_VALUE_{first + 1}": _HELPER,
            "FUSTGO_GIT_USER": self.user,
            "FUSTGO_GIT_PASSWORD": self.password,
        }


def remote_of(git: str) -> Remote:
    """The repository that a setting names: a URL, `user@host:path`, or the absolute path of a folder.

    Raises UsageError for a password where git cannot use one, or that ends too early to be known for one.
    """
    if "://" not in git:
        return Remote(git)
    parts = urlsplit(git)
    _check_port(parts)
    if "@" not in parts.netloc:
        return Remote(git)
    user, _, password = parts.netloc.rpartition("@")[0].partition(":")
    if parts.scheme not in ("http", "https"):
        if password:
            raise UsageError(
                f"{without_password(git)}: {parts.scheme} takes no password from an address",
                hint="leave it out, and give the user of the scheduler a key of ssh",
            )
        return Remote(git)
    secrets = unquote(user), unquote(password)
    if not all(secret.isprintable() for secret in secrets):
        raise UsageError(f"{without_password(git)}: the user or password has a character that none can have")
    return Remote(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl(), *secrets)


def _check_port(parts: SplitResult) -> None:
    """A password with a slash looks like a port: what cannot be one is not shown."""
    try:
        _ = parts.port
    except ValueError:
        raise UsageError(
            f"bundle.git: the {parts.scheme} address has no number for a port",
            hint="in a user or password write / as %2F, ? as %3F, # as %23, @ as %40, : as %3A and % as %25",
        ) from None
