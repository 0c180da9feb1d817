"""The small language in which providers write the schemas of raw overrides; every refusal is a BadEvent."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pushsvc.domain.event import BadEvent

Check = Callable[[Any, str], None]


def text(max_chars: int = 4096, pattern: str = "", what: str = "a text") -> Check:
    """A string, of at most so many characters, that matches the whole pattern."""
    compiled = re.compile(pattern) if pattern else None

    def check(value: Any, path: str) -> None:
        if not isinstance(value, str) or len(value) > max_chars or (compiled and not compiled.fullmatch(value)):
            raise BadEvent(f"{_shown(value)} is not {what}", f"Give {what} of at most {max_chars} characters.", path)

    return check


def number(low: float, high: float, *, whole: bool = True) -> Check:
    """A number from low to high; JSON's true and false are none."""
    what = f"a {'whole ' if whole else ''}number from {low:g} to {high:g}"

    def check(value: Any, path: str) -> None:
        kinds = int if whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds) or not low <= value <= high:
            raise BadEvent(f"{_shown(value)} is not {what}", f"Give {what}.", path)

    return check


def one_of(*allowed: Any, any_case: bool = False) -> Check:
    """One of the values named."""

    def check(value: Any, path: str) -> None:
        given = value.upper() if any_case and isinstance(value, str) else value
        if isinstance(value, bool) or given not in allowed:
            shown = ", ".join(str(one) for one in allowed)
            raise BadEvent(f"{_shown(value)} is not one of {shown}", f"Use one of {shown}.", path)

    return check


def boolean(value: Any, path: str) -> None:
    """true or false."""
    if not isinstance(value, bool):
        raise BadEvent(f"{_shown(value)} is neither true nor false", "Give true or false, without quotes.", path)


def anything(value: Any, path: str) -> None:
    """Any JSON value."""


def list_of(check: Check) -> Check:
    """A list whose every item passes."""

    def check_list(value: Any, path: str) -> None:
        if not isinstance(value, list):
            raise BadEvent(f"{_shown(value)} is not a list", "Give a list.", path)
        for index, item in enumerate(value):
            check(item, f"{path}[{index}]")

    return check_list


def map_of(check: Check, key: Check = anything) -> Check:
    """An object with keys of the producer's own choice, null for one to be removed."""

    def check_map(value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise BadEvent(f"{_shown(value)} is not an object", "Give a JSON object.", path)
        for name, item in value.items():
            key(name, f"{path}.{name}")
            if item is not None:
                check(item, f"{path}.{name}")

    return check_map


@dataclass(frozen=True, slots=True)
class Fields:
    """An object of known fields; null stands for "remove". With `camel`, camelCase names are taken as well."""

    known: Mapping[str, Check | Fields]
    unknown_cure: str = "Leave it out, or look for a slip of the pen."
    camel: bool = False

    def __call__(self, value: Any, path: str) -> None:
        if not isinstance(value, dict):
            raise BadEvent(f"{_shown(value)} is not an object", "Give a JSON object.", path)
        seen: set[str] = set()
        for given, item in value.items():
            name = self.name(given)
            where = f"{path}.{given}" if path else given
            if name not in self.known:
                raise BadEvent(f"there is no field {given[:60]!r} here", self.unknown_cure, where)
            if name in seen:
                raise BadEvent(f"the field {name} is given twice", "Give it in one spelling.", where)
            seen.add(name)
            if item is not None:
                self.known[name](item, where)

    def name(self, given: str) -> str:
        """The field's name in the schema's own spelling."""
        return re.sub(r"(?<=[a-z0-9])([A-Z])", lambda found: "_" + found[1].lower(), given) if self.camel else given

    def canonical(self, value: dict[str, Any]) -> dict[str, Any]:
        """A checked object with all its field names in the schema's own spelling."""
        out = {}
        for given, item in value.items():
            name = self.name(given)
            check = self.known[name]
            out[name] = check.canonical(item) if isinstance(check, Fields) and isinstance(item, dict) else item
        return out


def merged(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid over it, objects within objects alike; null removes. Neither is changed."""
    out = dict(base)
    for key, value in over.items():
        if value is None:
            out.pop(key, None)
        elif isinstance(value, dict):
            below = out.get(key)
            out[key] = merged(below if isinstance(below, dict) else {}, value)
        else:
            out[key] = value
    return out


def _shown(value: Any) -> str:
    """A value as a cause tells it: a text may be somebody's, and causes are logged."""
    match value:
        case str():
            return f"a text of {len(value)} characters"
        case dict():
            return "an object"
        case list():
            return "a list"
        case _:
            return repr(value)
