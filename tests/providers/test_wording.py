from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pushsvc.providers.wording import cut, fill


@pytest.mark.parametrize(
    ("text", "chars", "expected"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("ab cdef", 4, "ab…"),
        ("cafe\u0301s and more", 5, "caf…"),
        ("cafe\u0301s and more", 6, "cafe\u0301…"),
        ("ab👨‍👩‍👧 family", 5, "ab…"),
        ("ab👍🏽 nice", 4, "ab…"),
        ("🇩🇪🇫🇷🇮🇹", 4, "🇩🇪…"),
        ("🇩🇪🇫🇷🇮🇹", 5, "🇩🇪🇫🇷…"),
        ("e\u0301", 1, "…"),
    ],
)
def test_a_text_is_cut_where_a_reader_sees_a_boundary(text: str, chars: int, expected: str) -> None:
    assert cut(text, chars) == expected


@given(st.text(), st.integers(1, 50))
def test_a_cut_text_is_never_longer_than_asked(text: str, chars: int) -> None:
    found = cut(text, chars)
    assert len(found) <= chars
    assert found == text or text.startswith(found[:-1])


@given(st.text())
def test_a_template_without_placeholders_stays_as_it_is(template: str) -> None:
    values = {"name": "N", "from": "F", "title": "T", "body": "B", "gid": "G"}
    plain = template.replace("{", "(")
    assert fill(plain, values) == plain
    assert fill(f"{plain}{{name}}{{x}}{plain}", values) == f"{plain}N{{x}}{plain}"
