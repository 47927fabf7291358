"""What an attempt must not show: every form of every secret, wherever a long line is cut."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from orchestrator.sdk.connection import connection_from_text
from orchestrator.sdk.lines import Lines
from orchestrator.sdk.secrets import Secrets, secrets_in

PASSWORDS = ("s3cr3t", "back\\slash", "qu'ote", 'qu"ote', "b'o\"th\\", "p@ss word/é", "tab\there")


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize(
    "show",
    [
        lambda pw: pw,
        lambda pw: repr([pw]),
        lambda pw: ascii({"p": pw}),
        lambda pw: repr("cannot connect to " + pw),
        lambda pw: repr(f"'{pw}\""),
        lambda pw: json.dumps({"p": pw}),
        lambda pw: json.dumps({"p": pw}, ensure_ascii=False),
        lambda pw: f"http://me:{quote(pw, safe='')}@host",
        lambda pw: f"http://host/{quote(pw)}?p={quote_plus(pw)}",
    ],
)
def test_a_secret_is_masked_in_every_form_that_code_shows_it_in(password: str, show: Any) -> None:
    masked = Secrets([password]).masked(show(password))
    assert "***" in masked
    assert masked.replace("***", show("")) != show(password)
    assert not any(part in masked for part in ("s3cr3t", "slash", "qu", "th", "ss", "here"))


def test_each_line_of_a_secret_of_several_is_one() -> None:
    key = "-----BEGIN KEY-----\nMIIEvQIBADANBg\n}\n-----END KEY-----"
    secrets = Secrets([key])
    assert [secrets.masked(line) for line in key.splitlines()] == ["***", "***", "}", "***"]
    assert secrets.masked(json.dumps(key)) == '"***"'


def test_options_variables_and_connections_of_templates_count_by_their_names() -> None:
    crm = connection_from_text(
        "crm", "https://me:the-password@host/?token=the-token&region=north&key=the-key"
    )
    dwh = {"password": "other-password", "extra": {"auth": {"client_secret": ["deep-one", 12345]}, "n": 7}}
    names = {
        "conn": {"dwh": dwh},
        "var": {"api_token": "variable", "day": "monday"},
        "params": {"p": "plain"},
    }
    said = "the-password the-token north the-key other-password deep-one 12345 variable monday plain"
    assert secrets_in(names, crm).masked(said) == "*** *** north *** *** *** *** *** monday plain"


def test_short_ones_are_not_masked() -> None:
    assert Secrets(["", "ab"]).masked("about") == "about"


@pytest.mark.parametrize("shift", range(12))
def test_a_cut_of_a_long_line_never_goes_through_a_secret(shift: int) -> None:
    lines = Lines(100, Secrets(["the-secret"]))
    line = b"x" * (90 + shift) + b"the-secret" + b"y" * 150
    said = [piece for start in range(0, len(line), 7) for piece in lines.cut(line[start : start + 7])]
    said += lines.cut(b"\n")
    assert len(said) > 1
    assert "".join(said).replace("***", "", 1) == "x" * (90 + shift) + "y" * 150


def test_bytes_become_lines_wherever_they_are_cut() -> None:
    lines = Lines(100, Secrets())
    assert lines.cut(b"one\ntw") == ["one"]
    assert lines.cut("o\r\nth\xe4t".encode("latin-1")) == ["two"]
    assert lines.rest() == ["th\ufffdt"]
    assert lines.rest() == []
    assert lines.cut("\xe9".encode()[:1]) == []
    assert lines.cut("\xe9".encode()[1:] + b"\n") == ["\xe9"]
    assert lines.cut(b"y" * 101) == ["y" * 101]
