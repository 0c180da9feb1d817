from __future__ import annotations

from pathlib import Path

import pytest

from pushsvc.domain.outcome import Outcome, Row
from pushsvc.providers import outcome_rows
from pushsvc.providers.table import markdown

ROWS = outcome_rows()


def test_the_page_in_the_docs_is_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "outcomes.md"
    assert page.read_text() == markdown(ROWS), "write it anew: pushsvc outcomes --markdown > docs/outcomes.md"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.provider} {row.reason}")
def test_every_row_says_its_cause_and_cure_in_sentences(row: Row) -> None:
    for sentence in (row.cause, row.cure):
        assert sentence[0].isupper() or sentence.startswith("APNs")
        assert sentence.endswith(".")
        assert "|" not in sentence, "it would break the table"


def test_every_code_of_the_closed_list_has_a_row() -> None:
    reached = {row.outcome for row in ROWS}
    assert reached | {Outcome.RETRYING} == set(Outcome)


def test_the_codes_are_those_of_the_contract() -> None:
    codes = {outcome.code for outcome in Outcome if outcome.code is not None}
    assert codes == {901, 902, 903, 904, 905, 911, 912, 913}
