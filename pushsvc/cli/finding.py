"""What the doctor says of one part."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

CLOCK_SKEW_S = 5.0  # between this machine and another, from which on it is told


class Level(StrEnum):
    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    level: Level
    subject: str
    cause: str
    cure: str = ""


def ok(subject: str, what: str) -> Finding:
    return Finding(Level.OK, subject, what)


def warn(subject: str, cause: str, cure: str) -> Finding:
    return Finding(Level.WARN, subject, cause, cure)


def fail(subject: str, cause: str, cure: str) -> Finding:
    return Finding(Level.FAIL, subject, cause, cure)
