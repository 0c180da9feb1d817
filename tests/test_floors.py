"""Keeps the floors of docs/architecture.md: a module imports only from floors below its own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = (
    {"pushsvc.domain", "pushsvc.config", "pushsvc.simulator", "pushsvc"},
    {"pushsvc.routing", "pushsvc.providers"},
    {"pushsvc.dispatch", "pushsvc.directory"},
    {"pushsvc.senders", "pushsvc.stream", "pushsvc.store", "pushsvc.vault", "pushsvc.telemetry"},
    {"pushsvc.health"},
    {"pushsvc.bootstrap"},
    {"pushsvc.trials"},
    {"pushsvc.api", "pushsvc.cli", "workers"},
    {"pushsvc.__main__"},
)
PART = {part: floor for floor, parts in enumerate(FLOORS) for part in parts}
WITHOUT_IO = (
    "pushsvc.domain",
    "pushsvc.routing",
    "pushsvc.providers",
    "pushsvc.dispatch.plan",
    "pushsvc.dispatch.settle",
)
IO = {
    "asyncio", "http", "httpx", "logging", "os", "pathlib", "pycurl", "random", "redis", "secrets", "shutil", "socket",
    "sqlalchemy", "subprocess", "tempfile", "threading", "time", "urllib.request",
}  # fmt: skip
READS_A_CLOCK = {
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("uuid", "uuid4"),
}
FILES = [path for top in ("pushsvc", "workers") for path in sorted((ROOT / top).rglob("*.py"))]


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def part(name: str) -> str | None:
    """The part a module belongs to: the longest known prefix of its dotted name; None outside the project."""
    if name.partition(".")[0] not in ("pushsvc", "workers"):
        return None
    words = name.split(".")
    return next((p for n in range(len(words), 0, -1) if (p := ".".join(words[:n])) in PART), name)


def imports(tree: ast.AST, package: str) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = ".".join(package.split(".")[: 1 - node.level or None]) + "." if node.level else ""
            origin = (above + (node.module or "")).rstrip(".")
            found.add(origin)
            found |= {f"{origin}.{alias.name}" for alias in node.names if origin in ("pushsvc", "urllib")}
    return found


def offences(name: str, source: str, is_package: bool = False) -> list[str]:
    """What a module of this name and source does that its floor forbids."""
    tree = ast.parse(source)
    imported = imports(tree, name if is_package else name.rpartition(".")[0])
    own = part(name)
    assert own in PART, f"{name} has no floor: give it one in FLOORS"
    found = []
    for other in sorted(imported):
        its = part(other)
        if its is None or its == own or its == "pushsvc":
            continue
        if its not in PART or PART[its] >= PART[own]:
            found.append(f"{name} imports {other}: {own} may not see {its}")
        elif own == "pushsvc.simulator":
            found.append(f"{name} imports {other}: the simulator shares no code with the service")
    if name.startswith(WITHOUT_IO):
        found += [f"{name} imports {bad}" for bad in sorted(imported & IO)]
        found += [
            f"{name} line {node.lineno} reads a clock or randomness"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and (node.value.id, node.attr) in READS_A_CLOCK
        ]
    return found


@pytest.mark.parametrize("path", FILES, ids=module)
def test_a_module_imports_only_from_floors_below_its_own(path: Path) -> None:
    assert offences(module(path), path.read_text(), path.name == "__init__.py") == []


@pytest.mark.parametrize(
    ("name", "source", "what"),
    [
        ("pushsvc.domain.event", "from pushsvc.providers import PROVIDERS", "may not see pushsvc.providers"),
        ("pushsvc.domain.event", "import pushsvc.config", "may not see pushsvc.config"),
        ("pushsvc.routing", "from pushsvc import providers", "may not see pushsvc.providers"),
        ("pushsvc.api.events", "def f():\n    from pushsvc.cli.main import cli", "may not see pushsvc.cli"),
        ("pushsvc.dispatch.flow", "from pushsvc.stream.events import EventStream", "may not see pushsvc.stream"),
        ("pushsvc.simulator.apns", "from pushsvc.domain.outcome import Outcome", "may not see pushsvc.domain"),
        ("pushsvc.simulator.apns", "from ..domain import outcome", "may not see pushsvc.domain"),
        ("pushsvc.simulator.apns", "from .. import config", "may not see pushsvc.config"),
        ("pushsvc.dispatch.plan", "import time", "imports time"),
        ("pushsvc.providers.apns.payload", "import datetime\nx = datetime.now()", "reads a clock"),
    ],
)
def test_the_test_itself_finds_what_it_is_for(name: str, source: str, what: str) -> None:
    assert any(what in offence for offence in offences(name, source))


def test_nothing_heavy_happens_when_a_module_is_imported() -> None:
    """No module of the service opens, connects or reads the environment at its top level."""
    calls = {"getenv", "environ", "connect", "create_engine", "from_url", "Redis", "Thread", "Popen", "urlopen"}
    for path in FILES:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            names = {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)}
            names |= {n.func.id for n in ast.walk(node) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
            assert not names & calls, f"{path.relative_to(ROOT)} line {node.lineno}: {names & calls} at import"
