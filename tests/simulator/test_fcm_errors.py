"""Every FCM error and OAuth refusal, for its cause."""

import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from conftest import PROJECT, Firebase, tls

from pushsvc.simulator import Simulator
from pushsvc.simulator.devices import make_fcm_token
from pushsvc.simulator.fcm_errors import ENVELOPES
from pushsvc.simulator.oauth import ERRORS

FCM_ERROR = "type.googleapis.com/google.firebase.fcm.v1.FcmError"
APNS_ERROR = "type.googleapis.com/google.firebase.fcm.v1.ApnsError"
BAD_REQUEST = "type.googleapis.com/google.rpc.BadRequest"

Cause = Callable[[Firebase], httpx.Response]
CAUSES: dict[str, list[Cause]] = {}


def causes(code: str) -> Callable[[Cause], Cause]:
    def note(cause: Cause) -> Cause:
        CAUSES.setdefault(code, []).append(cause)
        return cause

    return note


def phone(firebase: Firebase, **options: Any) -> str:
    return firebase.simulator.devices.fcm(PROJECT, **options).token


def detail(answer: httpx.Response, kind: str) -> dict[str, Any]:
    found = [entry for entry in answer.json()["error"].get("details", []) if entry["@type"] == kind]
    return dict(found[0]) if found else {}


def test_a_message_is_accepted_and_named(firebase: Firebase) -> None:
    answer = firebase.send({"token": phone(firebase), "data": {"id": "1"}})
    assert answer.status_code == 200, answer.text
    name = answer.json()["name"]
    assert name.startswith(f"projects/{PROJECT}/messages/0:")
    assert [arrival.accepted for arrival in firebase.simulator.requests("fcm")] == [True]


def test_validate_only_delivers_nothing(firebase: Firebase) -> None:
    answer = firebase.send({"token": phone(firebase)}, validate_only=True)
    assert answer.json() == {"name": f"projects/{PROJECT}/messages/fake_message_id"}
    assert [arrival.accepted for arrival in firebase.simulator.requests("fcm")] == [False]


@pytest.mark.parametrize("target", [{"topic": "news"}, {"condition": "'a' in topics && 'b' in topics"}, {"fid": ""}])
def test_the_other_targets(target: dict[str, str], firebase: Firebase) -> None:
    chosen = {"fid": phone(firebase).partition(":")[0]} if "fid" in target else target
    assert firebase.send(chosen | {"notification": {"title": "Hi"}}).status_code == 200


EVERYTHING = {
    "data": {"a": "b"},
    "notification": {"title": "t", "body": "b", "image": "https://example.com/i.png"},
    "fcm_options": {"analytics_label": "label-1"},
    "android": {
        "collapse_key": "k",
        "priority": "high",
        "ttl": "3.5s",
        "restricted_package_name": "com.example.chat",
        "data": {"c": "d"},
        "direct_boot_ok": True,
        "bandwidth_constrained_ok": True,
        "restricted_satellite_ok": False,
        "fcm_options": {"analytics_label": "x"},
        "notification": {
            "title": "t",
            "color": "#aabbcc",
            "body_loc_key": "k",
            "body_loc_args": ["1"],
            "channel_id": "calls",
            "sticky": True,
            "event_time": "2026-01-02T03:04:05.678Z",
            "notification_priority": "PRIORITY_MAX",
            "vibrate_timings": ["0.5s", "1s"],
            "visibility": "SECRET",
            "notification_count": 3,
            "light_settings": {
                "color": {"red": 1, "green": 0.5, "blue": 0, "alpha": 1},
                "light_on_duration": "1s",
                "light_off_duration": "0.25s",
            },
            "proxy": "DENY",
        },
    },
    "webpush": {
        "headers": {"TTL": "10"},
        "notification": {"title": "t", "actions": [{"action": "a"}]},
        "fcm_options": {"link": "https://example.com"},
    },
    "apns": {
        "headers": {"apns-priority": "10"},
        "payload": {"aps": {"alert": {"title": "t"}, "badge": 1}},
        "fcm_options": {"image": "https://example.com/i.png"},
        "live_activity_token": "abcd",
    },
}


def camel(value: Any) -> Any:
    """The same message with camelCase names (free-form maps have none that would change)."""
    if isinstance(value, list):
        return [camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {n.split("_")[0] + "".join(w.capitalize() for w in n.split("_")[1:]): camel(v) for n, v in value.items()}


@pytest.mark.parametrize("spell", [lambda message: message, camel], ids=["snake_case", "camelCase"])
def test_the_whole_message_in_both_spellings(spell: Callable[[Any], Any], firebase: Firebase) -> None:
    answer = firebase.send(spell(EVERYTHING | {"token": phone(firebase)}))
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("message", "field", "text"),
    [
        ({"data": {"n": 1}}, "message.data[0].value", "Invalid value at 'message.data[0].value' (TYPE_STRING), 1"),
        ({"colour": "red"}, "message", "Unknown name \"colour\" at 'message': Cannot find field."),
        ({"android": {"ttl": "5"}}, "message.android.ttl", "Duration"),
        ({"android": {"priority": "URGENT"}}, "message.android.priority", "AndroidMessagePriority"),
        ({"android": {"notification": {"sticky": "yes"}}}, "message.android.notification.sticky", "TYPE_BOOL"),
        (
            {"android": {"notification": {"notificationCount": 2**31}}},
            "message.android.notification.notification_count",
            "TYPE_INT32",
        ),
        ({"android": {"notification": {"event_time": "noon"}}}, "message.android.notification.event_time", "Timestamp"),
        ({"apns": {"payload": "text"}}, "message.apns.payload", "Struct"),
        ({"notification": {"title": {}}}, "message.notification.title", "TYPE_STRING"),
        ({"notification": "text"}, "message.notification", "Notification"),
        ({"webpush": {"headers": {"TTL": 5}}}, "message.webpush.headers[0].value", "TYPE_STRING"),
    ],
)
def test_a_wrong_type_gives_a_field_violation_and_no_error_code(
    message: dict[str, Any], field: str, text: str, firebase: Firebase
) -> None:
    answer = firebase.send({"token": phone(firebase)} | message)
    assert (answer.status_code, answer.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")
    (violation,) = detail(answer, BAD_REQUEST)["fieldViolations"]
    assert violation["field"] == field
    assert text in violation["description"]
    assert not detail(answer, FCM_ERROR)


def test_two_targets_and_broken_json_are_bad_requests_too(firebase: Firebase) -> None:
    answer = firebase.send({"token": phone(firebase), "topic": "news"})
    assert "oneof" in answer.json()["error"]["message"]
    assert detail(answer, BAD_REQUEST)
    assert not detail(answer, FCM_ERROR)
    broken = firebase.send(None, content=b"{nope")
    assert (broken.status_code, broken.json()["error"]["status"]) == (400, "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    ("message", "field"),
    [
        ({"data": {"from": "me"}}, "message.data"),
        ({"data": {"message_type": "x"}}, "message.data"),
        ({"data": {"google.x": "x"}}, "message.data"),
        ({"android": {"data": {"gcm.x": "x"}}}, "message.android.data"),
        ({"android": {"ttl": "2419201s"}}, "message.android.ttl"),
        ({"android": {"ttl": "-1s"}}, "message.android.ttl"),
        ({"android": {"notification": {"color": "red"}}}, "message.android.notification.color"),
        ({"android": {"notification": {"title_loc_args": ["a"]}}}, "message.android.notification.title_loc_args"),
        ({"android": {"notification": {"light_settings": {}}}}, "message.android.notification.light_settings"),
        ({"webpush": {"fcm_options": {"link": "http://x"}}}, "message.webpush.fcm_options.link"),
        ({"fcm_options": {"analytics_label": "a b"}}, "message.fcm_options.analytics_label"),
        ({"token": "", "topic": "a b"}, "message.topic"),
        ({"token": "", "condition": "always"}, "message.condition"),
        ({"token": ""}, "message"),
        ({"token": "short"}, "message.token"),
        ({"android": {"restricted_package_name": "com.other"}}, "message.android.restricted_package_name"),
    ],
)
def test_an_invalid_argument_names_its_field(message: dict[str, Any], field: str, firebase: Firebase) -> None:
    answer = firebase.send({"token": phone(firebase)} | message)
    assert detail(answer, FCM_ERROR)["errorCode"] == "INVALID_ARGUMENT"
    assert detail(answer, BAD_REQUEST)["fieldViolations"][0]["field"] == field
    assert answer.status_code == 400


def test_too_large_a_message_is_an_invalid_argument_without_details(firebase: Firebase) -> None:
    token = phone(firebase)
    assert firebase.send({"token": token, "data": {"k": "x" * 4095}}).status_code == 200
    answer = firebase.send({"token": token, "data": {"k": "x" * 4096}})
    assert (answer.status_code, answer.json()["error"].keys()) == (400, {"code", "message", "status"})
    assert firebase.send({"topic": "news", "data": {"k": "x" * 2047}}).status_code == 200
    assert firebase.send({"topic": "news", "data": {"k": "x" * 2048}}).status_code == 400


def test_too_large_an_apns_payload_is_told_in_apns_words(firebase: Firebase) -> None:
    token = phone(firebase, platform="ios")
    payload = {"aps": {"alert": "x"}, "k": "x" * 4096}
    answer = firebase.send({"token": token, "apns": {"payload": payload}})
    assert (answer.status_code, detail(answer, APNS_ERROR)["reason"]) == (400, "PayloadTooLarge")


def test_data_only_to_an_iphone_allows_priority_five_only(firebase: Firebase) -> None:
    token = phone(firebase, platform="ios")
    silent = {"token": token, "apns": {"payload": {"aps": {"content-available": 1}}, "headers": {"apns-priority": "5"}}}
    assert firebase.send(silent).status_code == 200
    silent["apns"] = {"payload": {"aps": {"content-available": 1}}, "headers": {"apns-priority": "10"}}
    answer = firebase.send(silent)
    assert detail(answer, BAD_REQUEST)["fieldViolations"][0]["field"] == "message.apns.headers"


@causes("INVALID_ARGUMENT")
def reserved_key(firebase: Firebase) -> httpx.Response:
    return firebase.send({"token": phone(firebase), "data": {"from": "x"}})


@causes("UNREGISTERED")
def well_formed_token_that_nobody_has(firebase: Firebase) -> httpx.Response:
    return firebase.send({"token": make_fcm_token()})


@causes("UNREGISTERED")
def uninstalled_app(firebase: Firebase) -> httpx.Response:
    token = phone(firebase)
    firebase.simulator.devices.unregister(token)
    return firebase.send({"token": token})


@causes("UNREGISTERED")
def uninstalled_app_on_an_iphone(firebase: Firebase) -> httpx.Response:
    token = phone(firebase, platform="ios")
    firebase.simulator.devices.unregister(token)
    answer = firebase.send({"token": token})
    assert detail(answer, APNS_ERROR) == {"@type": APNS_ERROR, "statusCode": 410, "reason": "Unregistered"}
    return answer


@causes("SENDER_ID_MISMATCH")
def token_of_another_project(firebase: Firebase) -> httpx.Response:
    return firebase.send({"token": firebase.simulator.devices.fcm("another-project").token})


@causes("QUOTA_EXCEEDED")
def third_message_to_a_device_that_takes_two(firebase: Firebase) -> httpx.Response:
    clock = firebase.simulator.clock
    clock.advance(60 - clock.now() % 60)
    token, bearer = phone(firebase, per_minute=2), firebase.bearer()
    assert [firebase.send({"token": token}, bearer=bearer).status_code for _ in range(2)] == [200, 200]
    return firebase.send({"token": token}, bearer=bearer)


@causes("QUOTA_EXCEEDED")
def project_over_its_quota(firebase: Firebase) -> httpx.Response:
    clock = firebase.simulator.clock
    clock.advance(60 - clock.now() % 60)
    firebase.simulator.policy.set("project_per_minute", 1)
    assert firebase.send({"token": phone(firebase)}).status_code == 200
    return firebase.send({"token": phone(firebase)})


@causes("THIRD_PARTY_AUTH_ERROR")
def apns_key_of_the_project_is_invalid(firebase: Firebase) -> httpx.Response:
    firebase.simulator.fcm.set_apns_credential(PROJECT, "invalid")
    answer = firebase.send({"token": phone(firebase, platform="ios")})
    assert detail(answer, APNS_ERROR)["reason"] == "InvalidProviderToken"
    assert firebase.send({"token": phone(firebase)}).status_code == 200
    return answer


@causes("THIRD_PARTY_AUTH_ERROR")
def apns_key_of_the_project_is_for_the_other_environment(firebase: Firebase) -> httpx.Response:
    firebase.simulator.fcm.set_apns_credential(PROJECT, "wrong-environment")
    answer = firebase.send({"token": phone(firebase, platform="ios")})
    assert detail(answer, APNS_ERROR)["reason"] == "BadEnvironmentKeyInToken"
    return answer


@causes("THIRD_PARTY_AUTH_ERROR")
def apns_key_of_the_project_is_missing(firebase: Firebase) -> httpx.Response:
    firebase.simulator.fcm.set_apns_credential(PROJECT, "missing")
    answer = firebase.send({"token": phone(firebase, platform="ios")})
    assert answer.json()["error"]["message"].startswith("Request is missing required authentication credential")
    return answer


@pytest.mark.parametrize(
    ("code", "cause"),
    [pytest.param(code, cause, id=f"{code}-{cause.__name__}") for code in CAUSES for cause in CAUSES[code]],
)
def test_an_error_code_is_given_for_its_cause(code: str, cause: Cause, firebase: Firebase) -> None:
    answer = cause(firebase)
    envelope = ENVELOPES[code]
    assert detail(answer, FCM_ERROR)["errorCode"] == code
    assert (answer.status_code, answer.json()["error"]["status"]) == (envelope.http, envelope.status)
    assert answer.json()["error"]["code"] == envelope.http


def test_the_documented_codes_without_a_cause_are_google_s_own_trouble() -> None:
    documented = {name for name in ENVELOPES if name.isupper()}
    assert documented - CAUSES.keys() == {"UNSPECIFIED_ERROR", "UNAVAILABLE", "INTERNAL", "APNS_AUTH_ERROR"}


@pytest.mark.parametrize("name", list(ENVELOPES))
def test_a_fault_switch_gives_any_envelope(name: str, firebase: Firebase, simulator: Simulator) -> None:
    token = phone(firebase)
    simulator.faults.add("reason", site="fcm", token=token, reason=name, retry_after=30, times=1)
    answer = firebase.send({"token": token})
    envelope = ENVELOPES[name]
    assert (answer.status_code, answer.headers["retry-after"]) == (envelope.http, "30")
    if envelope.status:
        assert answer.json()["error"]["status"] == envelope.status
    else:
        assert answer.headers["content-type"].startswith("text/html")
    assert simulator.requests("fcm")[-1].reason == name
    assert firebase.send({"token": token}).status_code == 200


def test_the_details_come_in_both_orders() -> None:
    first = ENVELOPES["ios-unregistered"].details[0]["@type"]
    second = ENVELOPES["ios-unregistered-reversed"].details[0]["@type"]
    assert {first, second} == {FCM_ERROR, APNS_ERROR}


def test_no_access_token_and_a_wrong_one(firebase: Firebase, simulator: Simulator) -> None:
    message = {"token": phone(firebase)}
    assert firebase.send(message, headers={}).status_code == 401
    assert firebase.send(message, bearer="ya29.invented").status_code == 401
    good = firebase.bearer()
    simulator.clock.advance(3600)
    expired = firebase.send(message, bearer=good)
    assert (expired.status_code, detail(expired, FCM_ERROR)) == (401, {})


def test_access_tokens_may_be_short_lived_or_revoked(firebase: Firebase, simulator: Simulator) -> None:
    simulator.policy.set("access_token_ttl_s", 5)
    granted = firebase.grant().json()
    assert (granted["expires_in"], granted["token_type"]) == (5, "Bearer")
    message = {"token": phone(firebase)}
    assert firebase.send(message, bearer=granted["access_token"]).status_code == 200
    simulator.oauth.revoke_access_tokens()
    assert firebase.send(message, bearer=granted["access_token"]).status_code == 401
    assert len(simulator.requests("oauth")) == 1


def test_projects_and_permissions(firebase: Firebase, simulator: Simulator) -> None:
    message, bearer = {"token": phone(firebase)}, firebase.bearer()
    missing = firebase.send(message, bearer=bearer, project="no-such-project")
    assert (missing.status_code, detail(missing, FCM_ERROR)) == (404, {})
    simulator.authority.issue_service_account("their-project")
    assert firebase.send(message, bearer=bearer, project="their-project").status_code == 403
    simulator.fcm.disabled_projects.add(PROJECT)
    disabled = firebase.send(message, bearer=bearer)
    assert disabled.json()["error"]["details"][0]["reason"] == "SERVICE_DISABLED"
    powerless = Firebase(firebase.http, simulator, simulator.authority.issue_service_account("p2", may_send=False))
    assert powerless.send(message).json()["error"]["status"] == "PERMISSION_DENIED"


@pytest.mark.parametrize("path", ["/fcm/send", "/batch", "/v1/projects/x/messages", "/"])
def test_other_paths_are_html(path: str, firebase: Firebase) -> None:
    answer = firebase.send({}, path=path)
    assert answer.status_code == 404
    assert answer.text.startswith("<!DOCTYPE html>")


GRANTS: list[tuple[str, str, Callable[[Firebase], httpx.Response]]] = [
    ("invalid_grant", "malformed", lambda f: f.grant("abc")),
    ("invalid_grant", "account not found", lambda f: f.grant(f.assertion(iss="who@example.com"))),
    ("invalid_grant", "Failed audience check", lambda f: f.grant(f.assertion(aud="https://example.com/token"))),
    ("invalid_grant", "reasonable timeframe", lambda f: f.grant(f.assertion(exp=int(time.time()) + 7200))),
    ("invalid_grant", "reasonable timeframe", lambda f: f.grant(f.assertion(iat=int(time.time()) + 900))),
    ("invalid_grant", "reasonable timeframe", lambda f: f.grant(f.assertion(iat=1, exp=3601))),
    ("invalid_grant", "reasonable timeframe", lambda f: f.grant(f.assertion(exp="soon"))),
    ("invalid_grant", "Signature", lambda f: f.grant(f.assertion(kid="0" * 40))),
    ("invalid_scope", "Invalid OAuth scope", lambda f: f.grant(f.assertion(scope="https://example.com/x"))),
    ("unsupported_grant_type", "Invalid grant_type", lambda f: f.grant(grant_type="password")),
    ("invalid_request", "Not found", lambda f: f.http.post(f.simulator.oauth.url + "/other", content=b"")),
]


@pytest.mark.parametrize(("error", "text", "ask"), GRANTS, ids=[f"{g[0]}-{i}" for i, g in enumerate(GRANTS)])
def test_oauth_refuses(error: str, text: str, ask: Callable[[Firebase], httpx.Response], firebase: Firebase) -> None:
    answer = ask(firebase)
    assert (answer.status_code, answer.json()["error"]) == (ERRORS[error][0], error)
    assert text in answer.json()["error_description"]


def test_oauth_refuses_a_foreign_signature_and_a_revoked_account(firebase: Firebase, simulator: Simulator) -> None:
    other = simulator.authority.issue_service_account("other")
    assert firebase.grant(firebase.assertion(sign_with=other)).json()["error"] == "invalid_grant"
    theirs = Firebase(firebase.http, simulator, other)
    bearer = theirs.bearer()
    simulator.authority.revoke(other)
    assert theirs.grant().json()["error"] == "invalid_grant"
    assert theirs.send({"topic": "x"}, bearer=bearer).status_code == 401


@pytest.mark.parametrize("error", list(ERRORS))
def test_a_fault_switch_gives_any_oauth_error(error: str, firebase: Firebase, simulator: Simulator) -> None:
    simulator.faults.add("reason", site="oauth", reason=error, times=1)
    answer = firebase.grant()
    assert (answer.status_code, answer.json()["error"]) == (ERRORS[error][0], error)
    assert firebase.grant().status_code == 200


def test_google_s_servers_speak_http_1_1_too(firebase: Firebase, simulator: Simulator) -> None:
    token, bearer = phone(firebase), firebase.bearer()
    url = f"{simulator.fcm.url}/v1/projects/{PROJECT}/messages:send"
    headers = {"authorization": f"Bearer {bearer}"}
    with httpx.Client(verify=tls(simulator), timeout=10) as http:
        for _ in range(2):
            answer = http.post(url, json={"message": {"token": token}}, headers=headers)
            assert (answer.http_version, answer.status_code) == ("HTTP/1.1", 200)
        simulator.faults.add("reason", site="fcm", reason="html-502", times=1)
        assert http.post(url, json={"message": {"token": token}}, headers=headers).status_code == 502
        simulator.faults.add("close-after-request", site="fcm", times=1)
        with pytest.raises(httpx.TransportError):
            http.post(url, json={"message": {"token": token}}, headers=headers)
        chunks = (part for part in (b'{"message":', json.dumps({"token": token}).encode(), b"}"))
        assert http.post(url, content=chunks, headers=headers).status_code == 200
    assert {arrival.connection.alpn for arrival in simulator.requests("fcm")} == {"http/1.1"}
