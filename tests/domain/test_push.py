from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st
from values import APNS_TOKEN, FCM_TOKEN, IPHONE, VOIP_TOKEN, certificate, push

from pushsvc.domain.credential import Credential
from pushsvc.domain.device import redacted
from pushsvc.domain.outcome import Outcome
from pushsvc.domain.push import Bearer, Identity, PushRequest, PushResponse, push_id


@given(
    st.integers(1, 2**63 - 1),
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=64),
    st.integers(0, 2**63 - 1),
)
def test_a_push_id_is_a_canonical_uuid(app_id: int, event_id: str, token_id: int) -> None:
    made = push_id(app_id, event_id, token_id)
    assert str(uuid.UUID(made)) == made
    assert uuid.UUID(made).variant == uuid.RFC_4122
    assert made == push_id(app_id, event_id, token_id)


def test_push_ids_of_different_pushes_differ() -> None:
    made = {push_id(a, e, t) for a in (1, 11) for e in ("1", "11", "x") for t in (1, 11)}
    assert len(made) == 12


def test_secrets_are_in_no_repr() -> None:
    of = push()
    credential = Credential(1, 1, certificate().finding, b"PEM-SECRET")
    values = [
        of,
        IPHONE,
        credential,
        of.app,
        PushRequest("a:443", f"/3/device/{APNS_TOKEN}", (("authorization", "bearer JWT-SECRET"),), b"BODY-SECRET"),
        Identity("k", b"PEM-SECRET", b"PEM-SECRET"),
        Bearer("JWT-SECRET", 1.0),
    ]
    for value in values:
        shown = repr(value)
        for secret in (APNS_TOKEN, VOIP_TOKEN, FCM_TOKEN, "PEM-SECRET", "JWT-SECRET", "BODY-SECRET"):
            assert secret not in shown


def test_a_redacted_token_can_be_recognised_and_not_used() -> None:
    assert redacted(APNS_TOKEN) == "a1a1a1…a1"
    assert redacted("short") == "…"


def test_a_header_is_found_by_its_name() -> None:
    answer = PushResponse(200, (("apns-id", "x"), ("retry-after", "5")), b"")
    assert (answer.header("retry-after"), answer.header("none")) == ("5", None)


def test_every_outcome_says_what_it_is_and_only_retrying_goes_on() -> None:
    assert [outcome for outcome in Outcome if not outcome.final] == [Outcome.RETRYING]
    assert all(outcome.cause and outcome.cure for outcome in Outcome)
