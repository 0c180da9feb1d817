"""Keeps the documents true to the code."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import click
import jsonschema
import pytest

from pushsvc import bootstrap
from pushsvc.api.app import create
from pushsvc.cli.config import table
from pushsvc.cli.main import COMMANDS, cli
from pushsvc.cli.outcomes import page
from pushsvc.cli.simulate import simulate
from pushsvc.config import VARIABLES, Config
from pushsvc.domain.app import Settings
from pushsvc.domain.event import Event, parse, schema
from pushsvc.simulator.faults import KINDS
from pushsvc.telemetry import GAUGES, Metrics

ROOT = Path(__file__).parents[1]
DOCS = {
    path: path.read_text()
    for path in (*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "certs/README.md")
}
OPERATIONS = DOCS[ROOT / "docs/operations.md"]
EVENTS = DOCS[ROOT / "docs/events.md"]


def test_the_config_table_is_what_the_command_prints() -> None:
    written = OPERATIONS.partition("<!-- config table: pushsvc config --markdown -->\n")[2].partition("\n<!-- end")[0]
    assert written == table(), "run: pushsvc config --markdown, and put it between the comments"


def test_the_outcomes_page_is_what_the_command_prints() -> None:
    assert DOCS[ROOT / "docs/outcomes.md"] == page() + "\n", "run: pushsvc outcomes --markdown > docs/outcomes.md"


def test_the_settings_table_names_every_setting_and_no_other() -> None:
    table = DOCS[ROOT / "docs/pushes.md"].partition("## Settings\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    assert [name for row in rows for name in re.findall(r"`(\w+)`", row)] == list(Settings.__struct_fields__)


def test_every_metric_is_in_the_table() -> None:
    listed = set(re.findall(r"^\| `(pushsvc_\w+)` \|", OPERATIONS, re.MULTILINE))
    families = {family.name: family.type for family in Metrics().registry.collect()}
    assert listed == {f"{name}_total" if kind == "counter" else name for name, kind in families.items()}
    for name, text in GAUGES.items():
        assert f"| `pushsvc_{name}` | | {text} |" in OPERATIONS


def test_every_gauge_that_the_code_sets_exists() -> None:
    for path in (*(ROOT / "pushsvc").rglob("*.py"), *(ROOT / "workers").rglob("*.py")):
        for name in re.findall(r"\.gauge\(\s*\"(\w+)\"", path.read_text()):
            assert name in GAUGES, f"{path.name} sets {name}"


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_a_document_names_only_variables_commands_and_files_that_exist(path: Path) -> None:
    text = DOCS[path]
    known = {variable.name for variable in VARIABLES}
    named = set(re.findall(r"PUSHSVC_[A-Z_]+[A-Z]", text))
    assert named <= known, f"unknown variables: {named - known}"
    commands = set(re.findall(r"(?:`|^|\| |\n)pushsvc ([a-z]+)\b(?! \()", text))
    assert commands <= set(COMMANDS), f"unknown commands: {commands - set(COMMANDS)}"
    for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (path.parent / link).exists(), f"{path.name} links to {link}"


def test_the_first_event_of_the_page_is_a_good_one() -> None:
    sample = json.loads(EVENTS.partition("```json\n")[2].partition("```")[0])
    jsonschema.Draft202012Validator(schema()).validate(sample)
    event = parse(json.dumps(sample).encode(), now=sample["sent_at"], app=None, make_id="x")
    assert event.message.body == "Are you coming?"


def test_the_table_of_properties_has_every_property_of_an_event() -> None:
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", EVENTS, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert set(Event.__struct_fields__) <= named


def test_the_simulators_page_has_every_fault_with_its_options_and_the_ports_of_the_command() -> None:
    page = DOCS[ROOT / "docs/simulator.md"]
    written = [line for line in page.partition("## Faults")[2].splitlines() if line.startswith("| `")]
    assert written == [f"| `{kind.name}` | {kind.description} | {_options(kind.options)} |" for kind in KINDS.values()]
    ports = {f"--{each.name.replace('_', '-')}": each.default for each in simulate.params if "port" in str(each.name)}
    listed = re.findall(r"^\| (\d+) \|.*\| `(--[\w-]+)` \|$", page, re.MULTILINE)
    assert {option: int(port) for port, option in listed} == ports


def _options(options: dict[str, Any]) -> str:
    said = [f"`{name}`" + ("" if value in (None, "") else f" ({value})") for name, value in options.items()]
    return ", ".join(said) or "–"


def test_the_page_lists_every_command_that_acts_and_every_way_over_http(tmp_path: Path) -> None:
    rows = OPERATIONS.partition("| about | `pushsvc …` | HTTP |\n")[2].partition("\n\n")[0]
    written = re.findall(r"`([^`]+)`", rows)
    commands = {path for name in COMMANDS for path in _leaves(cli.get_command(click.Context(cli), name), name)}
    assert {name for name in commands if " " in name} == {one for one in written if one.islower()}
    service = bootstrap.build(Config.from_env({"PUSHSVC_DATA": str(tmp_path)}))
    try:
        paths: dict[str, dict[str, Any]] = create(service).openapi()["paths"]
    finally:
        service.close()
    ways = {f"{method.upper()} {path}" for path, at in paths.items() for method in at if path.startswith("/v1/")}
    assert {way.replace(":path", "") for way in ways} == {one for one in written if " /v1/" in one}


def _leaves(command: click.Command | None, path: str) -> list[str]:
    if not isinstance(command, click.Group):
        return [path]
    return [leaf for name, sub in command.commands.items() for leaf in _leaves(sub, f"{path} {name}")]


def test_the_variables_of_the_table_are_unique_and_explained() -> None:
    names = [variable.name for variable in VARIABLES]
    assert len(names) == len(set(names))
    assert all(variable.help.endswith(".") for variable in VARIABLES)


def properties(part: dict[str, Any], whole: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = whole["$defs"][part["$ref"].rpartition("/")[2]]["properties"]
    return found


def test_the_published_schema_knows_the_properties_that_the_stream_carries() -> None:
    whole = schema()
    assert set(properties(whole, whole)) == set(Event.__struct_fields__)
