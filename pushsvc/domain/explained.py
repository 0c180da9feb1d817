"""What is wrong with an event, in sentences: from the decoder's words to a property, a cause and a cure."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping

SCHEMA = "The schema: pushsvc event schema, or GET /v1/events/schema"
SHOWN_NAME = 64  # characters of an unknown property's name

# Each property of an event, of its message after the dot, and what is given in it.
TAKES = {
    "app": "the app's id, a whole number from 1",
    "id": "1 to 64 printable ASCII characters without spaces",
    "user": "an address (1 to 63 characters, no comma, no leading space), a uid (a whole number from 1), "
    "or a list of 1 to 1000 of these",
    "kind": "message, call, call_cancelled or silent",
    "message": 'an object, as in {"from": "bob", "body": "Are you coming?"}',
    "expiry": "whole seconds from 0 to 31536000, a year",
    "sent_at": "UNIX time in seconds, a number",
    "priority": "high or normal",
    "apns": "an object of overrides",
    "fcm": "an object of overrides",
    "message.id": "a text of 1 to 64 characters, or a whole number",
    "message.from": "an address (1 to 63 characters, no comma, no leading space) or a uid (a whole number from 1)",
    "message.name": "a text of 1024 characters at most",
    "message.gid": "a whole number from 0",
    "message.type": "a whole number",
    "message.title": "a text of 16384 characters at most",
    "message.body": "a text of 16384 characters at most",
    "message.badge": "a whole number from 0 to 2147483647",
    "message.thread": "a text of 1024 characters at most",
    "message.data": "an object",
}
_WORDS = {
    "str": "a text",
    "int": "a whole number",
    "float": "no whole number",
    "bool": "true or false",
    "null": "null",
    "object": "an object",
    "array": "a list",
}


def explained(error: Exception, raw: bytes) -> tuple[str, str, str]:
    """(property, cause, cure) of a decoder's error on `raw`; no value is in them, since it may be somebody's text."""
    text, _, path = str(error).partition(" - at `$")
    prop = path.rstrip("`").lstrip(".")
    name = re.sub(r"\[.*", "", prop)
    if not raw.strip():
        return "", "it is empty", 'Give an event, as {"user": "alice"}.'
    if text.startswith("Object missing required field"):
        return _quoted(text), "it is missing", f"Give {TAKES[_quoted(text)]}."
    if text.startswith("Object contains unknown field"):
        return _unknown(name, _quoted(text))
    takes = TAKES.get(name)
    if takes is None:
        if got := re.search("got `(.*)`", text):
            return prop, f"it is {_WORDS[got[1]]}, and an event is an object", f"Give one JSON object. {SCHEMA}."
        return prop, f"it is no JSON: {no_json(error)}", "Give one JSON object, in UTF-8."
    return prop, _refused_for(text), f"Give {takes}."


def _quoted(text: str) -> str:
    return text.partition("`")[2].rstrip("`")


def _unknown(of: str, name: str) -> tuple[str, str, str]:
    """With the nearest name of the same object, or of the other one: a message's text may stand beside the message."""
    same = {full.rpartition(".")[2]: full for full in TAKES if full.rpartition(".")[0] == of}
    other = {full.rpartition(".")[2]: full for full in TAKES if full not in same.values()}
    near = difflib.get_close_matches(name, same, n=1)
    if name in other or not near:
        near, same = difflib.get_close_matches(name, other, n=1) or near, other | same
    cure = f"Did you mean `{same[near[0]]}`?" if near else f"{SCHEMA}."
    shown = name[:SHOWN_NAME] + ("…" if len(name) > SHOWN_NAME else "")
    return (f"{of}." if of else "") + shown, "there is no such property", cure


def _refused_for(text: str) -> str:
    if got := re.search("got `(.*)`", text):
        return f"it is {_WORDS[got[1]]}"
    causes: Mapping[str, str] = {
        "of length <=": "it is too long",
        "of length >=": "it is too short",
        "` <=": "it is too large",
        "` >=": "it is too small",
        "out of range": "it is too large",
        "matching regex": "it has a character that may not be there",
        "Invalid enum value": "there is no such value",
    }
    return next((cause for part, cause in causes.items() if part in text), "it cannot be taken")


def no_json(error: Exception) -> str:
    """Why bytes are no JSON."""
    text = str(error).removeprefix("JSON is malformed: ")
    if isinstance(error, UnicodeError):
        return "it is not UTF-8"
    if "truncated" in text:
        return "it ends in the middle, or has half a character in it"
    return text[:100] if "(byte" in text else "it cannot be read"
