"""Which tokens are one phone."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pushsvc.domain.device import DeviceToken, Environment, Platform, TokenKind
from pushsvc.store.assembly import TokenOfUser, devices_of


def token(
    number: int, kind: TokenKind, at: float, name: str = "", appid: str = "com.x", platform: Platform = Platform.IOS
) -> TokenOfUser:
    stored = DeviceToken(number, kind, f"t{number}", Environment.PRODUCTION, at)
    return TokenOfUser(1, 2, name, platform, appid, stored)


def ids(tokens: list[TokenOfUser]) -> list[tuple[int, ...]]:
    return sorted(tuple(t.id for t in device.tokens) for device in devices_of(tokens))


APNS, VOIP, FCM = TokenKind.APNS, TokenKind.VOIP, TokenKind.FCM


def test_no_token_is_no_device() -> None:
    assert devices_of([]) == ()


def test_the_tokens_of_one_phone_are_one_device() -> None:
    (device,) = devices_of([token(1, APNS, 5), token(2, VOIP, 5), token(3, FCM, 5)])
    assert (device.app_id, device.uid, device.platform, device.appid) == (1, 2, Platform.IOS, "com.x")
    assert [t.id for t in (device.push_token, device.voip_token, device.fcm_token) if t] == [1, 2, 3]


def test_two_phones_without_names_are_paired_newest_first() -> None:
    assert ids([token(1, APNS, 5), token(2, VOIP, 5), token(3, APNS, 9), token(4, VOIP, 9)]) == [(1, 2), (3, 4)]


def test_a_token_that_finds_no_partner_is_a_device_of_its_own() -> None:
    assert ids([token(1, APNS, 5), token(2, APNS, 6), token(3, VOIP, 6)]) == [(1,), (2, 3)]


def test_a_named_installation_has_the_newest_token_of_each_kind() -> None:
    assert ids([token(1, APNS, 5, "n"), token(2, APNS, 6, "n"), token(3, VOIP, 1, "n")]) == [(2, 3)]


def test_other_names_apps_and_platforms_are_other_devices() -> None:
    tokens = [
        token(1, APNS, 5, "a"),
        token(2, VOIP, 5, "b"),
        token(3, VOIP, 5, "a", appid="com.y"),
        token(4, FCM, 5, "a", platform=Platform.ANDROID),
    ]
    assert ids(tokens) == [(1,), (2,), (3,), (4,)]


stored = st.builds(
    token,
    st.integers(1, 10**6),
    st.sampled_from(TokenKind),
    st.floats(0, 10),
    st.sampled_from(["", "n", "m"]),
    st.sampled_from(["com.x", "com.y"]),
    st.sampled_from(Platform),
)


@given(st.lists(stored, max_size=12, unique_by=lambda t: t.token.id), st.randoms())
def test_every_unnamed_token_is_in_one_device_and_the_order_of_rows_does_not_matter(
    tokens: list[TokenOfUser], random: object
) -> None:
    found = [number for device in ids(tokens) for number in device]
    assert len(found) == len(set(found))
    assert set(found) >= {t.token.id for t in tokens if not t.name}
    shuffled = list(tokens)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis gives a random.Random
    assert ids(shuffled) == ids(tokens)
