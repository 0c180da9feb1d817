"""What a device token looks like, and what a wrong one probably is: pure."""

from __future__ import annotations

import base64
import re

from pushsvc.directory.refused import BadValue
from pushsvc.domain.device import Environment, Platform, TokenKind

# 32 bytes today, and longer ones exist: "APNs device tokens are of variable length. Do not hard-code their size."
# https://developer.apple.com/documentation/uikit/uiapplicationdelegate/application(_:didregisterforremotenotificationswithdevicetoken:)
_HEX = re.compile(r"[0-9a-fA-F]{64,200}\Z")
_FCM = re.compile(r"[A-Za-z0-9_:-]{32,1024}\Z")
_BASE64 = re.compile(r"[A-Za-z0-9+/]{43,}={0,2}\Z")
_AS_HEX = "Send the bytes of deviceToken as hexadecimal digits."


def tokens_of(
    platform: Platform,
    push_token: str | None,
    voip_token: str | None,
    fcm_token: str | None,
    environment: Environment | None,
) -> tuple[tuple[TokenKind, str], ...]:
    """The tokens of a device by kind, hexadecimal ones in lower case; raises BadValue.

    An FCM token given as the push token is taken as what it is: clients have one field for both, and its form tells.
    """
    if push_token and _is_fcm(push_token):
        if fcm_token and fcm_token != push_token:
            raise BadValue(
                "push_token", "it is an FCM token, and fcm_token is another", "Give one FCM token, as fcm_token."
            )
        push_token, fcm_token = None, push_token
    found = []
    for kind, prop, given in (
        (TokenKind.APNS, "push_token", push_token),
        (TokenKind.VOIP, "voip_token", voip_token),
    ):
        if given:
            if platform is not Platform.IOS:
                raise BadValue(
                    prop,
                    f"an APNs token on the platform {platform.value}",
                    "Give 'ios', or the FCM token as fcm_token.",
                )
            found.append((kind, _hexadecimal(prop, given)))
    if fcm_token:
        found.append((TokenKind.FCM, _registration_token(fcm_token)))
    if not found:
        raise BadValue(
            "push_token", "the device has no token", "Give at least one of push_token, voip_token and fcm_token."
        )
    if len({token for _, token in found}) < len(found):
        raise BadValue(
            "voip_token",
            "push_token and voip_token are the same; they never are on a phone",
            "Give the token of didUpdatePushCredentials as voip_token, that of "
            "didRegisterForRemoteNotificationsWithDeviceToken as push_token.",
        )
    if environment is None and any(kind is not TokenKind.FCM for kind, _ in found):
        raise BadValue(
            "environment",
            "it is missing, and has no default: a token looks the same in both, and in the wrong one like a dead token",
            "Give 'sandbox' for a build run from Xcode, else 'production' (App Store, TestFlight, ad hoc).",
        )
    return tuple(found)


def _is_fcm(token: str) -> bool:
    """FCM documents no form; what tells its tokens from Apple's is a character that is no hexadecimal digit."""
    return _FCM.match(token) is not None and re.search("[^0-9a-fA-F]", token) is not None and _decoded(token) is None


def _hexadecimal(prop: str, token: str) -> str:
    if _HEX.match(token) and len(token) % 2 == 0:
        return token.lower()
    described = re.sub(r"[<> ]", "", token)
    if described != token and _HEX.match(described):
        raise BadValue(prop, "it is the description of an NSData, with spaces or brackets", _AS_HEX)
    if _decoded(token) is not None:
        raise BadValue(prop, "it is base64, and APNs wants hexadecimal digits", _AS_HEX)
    if prop == "voip_token" and _is_fcm(token):
        raise BadValue(prop, "it is an FCM token; there is no FCM token for VoIP pushes", "Give it as fcm_token.")
    raise BadValue(prop, "an APNs token has 64 to 200 hexadecimal digits, an even number of them", _AS_HEX)


def _registration_token(token: str) -> str:
    if _HEX.match(token):
        raise BadValue(
            "fcm_token", "it is an APNs token", "Give it as push_token; fcm_token is what Messaging.token() gives."
        )
    if not _FCM.match(token):
        raise BadValue(
            "fcm_token", "an FCM token has 32 to 1024 letters, digits, '_', ':' and '-'", "Give it as the SDK gives it."
        )
    return token


def _decoded(token: str) -> bytes | None:
    """The 32 bytes that a token in base64 stands for."""
    if not _BASE64.match(token):
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), validate=True)
    except ValueError:
        return None
    return raw if len(raw) == 32 else None
