"""The fields of the control port's operations: what each is, and what is said of one that does not fit."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_KINDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "a whole number": (int,),
    "a number": (int, float),
    "true or false": (bool,),
    "a list": (list,),
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an operation; `kind` is a name of _KINDS, or empty where several will do."""

    name: str
    kind: str = "text"
    required: bool = False


def text(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name) for name in names)


def required(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, required=True) for name in names)


def whole(*names: str) -> tuple[Field, ...]:
    return tuple(Field(name, "a whole number") for name in names)


def checked(known: Sequence[Field], query: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
    """The fields as they are to be used; those of a query are text and become numbers. Raises ValueError."""
    by_name = {field.name: field for field in known}
    found = {}
    for name, value in [*query.items(), *body.items()]:
        if name not in by_name:
            raise ValueError(f"there is no field {name!r}: the fields are {', '.join(by_name) or 'none'}")
        found[name] = _fitting(by_name[name], value, name not in body)
    for field in known:
        if field.required and found.get(field.name) is None:
            raise ValueError(f"the field {field.name!r} is missing")
    return found


def _fitting(field: Field, value: Any, from_query: bool) -> Any:
    if from_query and field.kind in ("a whole number", "a number") and value.lstrip("-").isdecimal():
        value = int(value)
    if value is None or not field.kind:
        return value
    wanted = _KINDS[field.kind]
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        raise ValueError(f"the field {field.name!r} has to be {field.kind}")
    return value
