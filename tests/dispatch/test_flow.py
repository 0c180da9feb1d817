"""The main flow on real parts: what arrives at the providers, what is recorded, what survives."""

import subprocess
import sys
import textwrap
import time
from email.utils import formatdate, parsedate_to_datetime

from world import BUNDLE, World

from pushsvc.domain.outcome import Outcome
from pushsvc.store.credentials import Credentials
from pushsvc.stream.dead import DeadLetters
from pushsvc.stream.figures import figures
from pushsvc.vault import Vault, new_key


def outcomes(records: list) -> list[Outcome]:
    return [record.outcome for record in records]


def test_an_event_reaches_every_device_of_the_user_and_is_recorded_once_for_each(world: World) -> None:
    tokens = {world.iphone("ada"), world.android("ada")}
    records = world.push("ada", message={"body": "hi"})
    assert outcomes(records) == [Outcome.ACCEPTED, Outcome.ACCEPTED]
    assert {request.token for request in world.arrived()} == tokens


def test_a_list_of_users_is_looked_up_and_pushed_as_one_event(world: World) -> None:
    tokens = [world.iphone(f"user{number}") for number in range(5)]
    records = world.push([f"user{number}" for number in range(5)])
    assert len(records) == 5
    assert sorted(request.token for request in world.arrived()) == sorted(tokens)


def test_a_repeated_event_is_not_sent_again_whichever_door_it_comes_by(world: World) -> None:
    world.iphone("ada")
    event = world.event("ada")
    world.send(event)
    world.send(event)
    from pushsvc.domain.event import encode

    world.service.valkey.call("XADD", "{pushsvc}:messages", "*", "event", encode(event))
    world.run(lambda: len(world.arrived()) > 0 and not world.flow.in_flight and not waiting(world))
    assert len(world.arrived()) == 1
    assert len(world.records(event)) == 1


def waiting(world: World) -> int:
    now = figures(world.service.valkey)
    return now.waiting + now.in_flight


def test_what_is_no_event_goes_to_the_dead_letters_and_blocks_nobody(world: World) -> None:
    world.iphone("ada")
    for fields in (("event", "{"), ("nonsense", "x"), ("event", '{"app":1,"user":0}'), ("event", b"\xff\x00")):
        world.service.valkey.call("XADD", "{pushsvc}:messages", "*", *fields)
    records = world.push("ada")
    assert outcomes(records) == [Outcome.ACCEPTED]
    letters = DeadLetters(world.service.valkey, 60).list()
    assert len(letters) == 4
    assert all(letter.reason for letter in letters)
    (foreign,) = [letter for letter in letters if letter.fields]
    assert foreign.fields == "nonsense"
    assert "has no field `event`" in foreign.reason


def test_a_foreign_producer_may_leave_out_what_a_door_fills_in(world: World) -> None:
    token = world.iphone("ada")
    raw = f'{{"app": {world.app}, "user": "ada"}}'
    world.service.valkey.call("XADD", "{pushsvc}:messages", "*", "event", raw)
    world.run(lambda: bool(world.arrived(token)) and not world.flow.in_flight)
    assert world.arrived(token)[0].accepted


def test_an_event_past_its_expiry_is_not_sent(world: World) -> None:
    world.iphone("ada")
    records = world.push("ada", sent_at=time.time() - 100, expiry=50)
    assert outcomes(records) == [Outcome.EXPIRED]
    assert not world.arrived()


def test_expiry_zero_is_never_pushed(world: World) -> None:
    world.iphone("ada")
    assert outcomes(world.push("ada", expiry=0)) == [Outcome.SUPPRESSED]
    assert not world.arrived()


def test_a_user_without_a_device_is_recorded_as_such(world: World) -> None:
    records = world.push("nobody")
    assert outcomes(records) == [Outcome.NO_DEVICE]
    assert records[0].token_id == 0


def test_a_failed_attempt_is_tried_again_with_the_same_apns_id(world: World) -> None:
    token = world.iphone("ada")
    world.simulator.faults.add("reason", token=token, times=2, reason="InternalServerError")
    event = world.event("ada")
    world.send(event)
    world.run(lambda: outcomes(world.records(event)) == [Outcome.ACCEPTED])
    requests = world.arrived(token)
    assert [request.status for request in requests] == [500, 500, 200]
    assert len({request.apns_id for request in requests}) == 1
    assert world.records(event)[0].attempts == 3


def test_a_retry_waits_for_retry_after_and_survives_the_worker(world: World) -> None:
    token = world.iphone("ada")
    world.simulator.faults.add("reason", token=token, times=1, reason="ServiceUnavailable", retry_after=1)
    event = world.event("ada")
    world.send(event)
    world.run(lambda: outcomes(world.records(event)) == [Outcome.RETRYING])
    due_at = world.records(event)[0].due_at
    assert due_at is not None
    world.run(lambda: not world.flow.in_flight)
    world.flow.close()
    world.flow = world.service.flow("another")
    world.run(lambda: outcomes(world.records(event)) == [Outcome.ACCEPTED])
    first, second = world.arrived(token)
    assert second.at - first.at >= 1.0
    assert second.apns_id == first.apns_id


def test_a_retry_waits_for_a_retry_after_that_is_a_date(world: World) -> None:
    token = world.iphone("ada")
    date = formatdate(time.time() + 3, usegmt=True)  # whole seconds: two at least are left of it
    world.simulator.faults.add("reason", token=token, times=1, reason="ServiceUnavailable", retry_after=date)
    event = world.event("ada")
    world.send(event)
    world.run(lambda: outcomes(world.records(event)) == [Outcome.ACCEPTED])
    first, second = world.arrived(token)
    assert second.at >= parsedate_to_datetime(date).timestamp() - 0.5 > first.at


def test_a_retry_never_goes_beyond_the_expiry(world: World) -> None:
    token = world.iphone("ada")
    world.simulator.faults.add("reason", token=token, reason="TooManyRequests", retry_after=600)
    records = world.push("ada", expiry=60)
    assert [(record.outcome, record.response_code) for record in records] == [(Outcome.PROVIDER, 429)]
    assert len(world.arrived(token)) == 1


def test_a_dead_token_is_dropped_and_one_registered_since_is_kept(world: World) -> None:
    token = world.iphone("ada")
    world.simulator.devices.unregister(token)
    records = world.push("ada")
    assert [(record.outcome, record.response_code) for record in records] == [(Outcome.BAD_TOKEN, 911)]
    assert world.service.devices.of_user(world.app, "ada") == ()

    kept = world.iphone("bob")
    world.simulator.devices.unregister(kept, since_ms=int((time.time() - 3600) * 1000))
    world.push("bob")
    assert len(world.service.devices.of_user(world.app, "bob")) == 1


def test_a_token_of_the_other_environment_is_tried_there_once_and_remembered(world: World) -> None:
    token = world.iphone("ada", home="sandbox", registered="production")
    assert outcomes(world.push("ada")) == [Outcome.ACCEPTED]
    assert [request.site for request in world.arrived(token)] == ["apns-production", "apns-sandbox"]
    world.push("ada")
    assert [request.site for request in world.arrived(token)][2:] == ["apns-sandbox"]


def test_a_token_that_both_environments_refuse_is_dropped(world: World) -> None:
    world.service.devices.register(
        world.app, user="ada", platform="ios", appid=BUNDLE, environment="production", push_token="ab" * 32
    )
    records = world.push("ada")
    assert [(record.outcome, record.response_code) for record in records] == [(Outcome.BAD_TOKEN, 911)]
    assert [request.site for request in world.arrived()] == ["apns-production", "apns-sandbox"]
    assert world.service.devices.of_user(world.app, "ada") == ()


def test_an_fcm_bearer_is_fetched_once_for_all_pushes_of_all_workers(world: World) -> None:
    world.android("ada")
    other = world.service.flow("another")
    world.send(*(world.event("ada") for _ in range(100)))
    world.run(lambda: len(world.arrived()) == 100 and not world.flow.in_flight)
    world.send(world.event("ada"))
    deadline = time.monotonic() + 10
    while len(world.arrived()) < 101:
        assert time.monotonic() < deadline
        other.step(20)
    other.close()
    assert len([request for request in world.simulator.requests() if request.site == "oauth"]) == 1


def test_a_bearer_that_google_no_longer_takes_is_renewed_once(world: World) -> None:
    token = world.android("ada")
    world.push("ada")
    world.simulator.faults.add("reason", site="fcm", times=1, reason="UNAUTHENTICATED", status=401)
    assert outcomes(world.push("ada")) == [Outcome.ACCEPTED]
    assert [request.status for request in world.arrived(token)] == [200, 401, 200]


def test_a_credential_is_paused_after_repeated_refusals_and_not_after_one(world: World) -> None:
    key = world.simulator.authority.issue_apns_key("TEAM000001")
    for stored in world.service.credentials.of(world.app):
        world.service.credentials.delete(world.app, stored.id)
    world.service.credentials.upload(world.app, key.p8, "k.p8", team_id=key.team_id, key_id=key.key_id)
    token = world.iphone("ada")
    world.simulator.authority.revoke(key)
    time.sleep(0.3)
    assert world.push("ada")[0].response_code == 904
    assert world.service.credentials.of(world.app)[0].paused == ""
    for _ in range(2):
        assert world.service.credentials.of(world.app)[0].paused == ""
        time.sleep(1.0)  # refusals within a second count as one
        world.push("ada")
    assert world.service.credentials.of(world.app)[0].paused
    time.sleep(0.3)
    asked = len(world.arrived(token))
    (refused,) = world.push("ada")
    assert (refused.response_code, refused.reason) == (902, "CredentialPaused")
    assert "the key is revoked" in refused.cause, "the record says why it was paused"
    assert len(world.arrived(token)) == asked


def test_a_record_says_why_a_credential_is_not_used_by_hand_or_for_want_of_its_vault_key(world: World) -> None:
    world.iphone("ada")
    stored = world.service.credentials.of(world.app)[0]
    world.service.credentials.pause_by_hand(world.app, stored.id, "key leaked")
    time.sleep(0.3)
    (paused,) = world.push("ada")
    assert (paused.response_code, paused.cause) == (902, f"Credential {stored.id} is paused: key leaked")
    world.service.credentials.resume(world.app, stored.id)
    other = Vault(new_key())
    sealed = other.seal(b"what it was", f"credential of app {world.app}: {stored.finding.fingerprint}")
    assert Credentials(world.service.database).reseal(stored.id, stored.sealed, sealed)
    world.settings(sound="ping.caf")
    (locked,) = world.push("ada")
    assert (locked.response_code, locked.reason) == (902, "CredentialLocked")
    assert "is not among the vault's keys" in locked.cause
    assert "PUSHSVC_VAULT_KEYS" in locked.cure


def test_a_burst_of_refusals_with_one_cause_does_not_pause_the_credential(world: World) -> None:
    world.android("ada")
    world.simulator.faults.add("reason", site="oauth", times=1, reason="invalid_grant")
    sent = [world.event("ada") for _ in range(20)]
    world.send(*sent)
    world.run(lambda: all(world.records(event) for event in sent) and not world.flow.in_flight)
    assert {record.response_code for event in sent for record in world.records(event)} <= {904, 200}
    assert any(record.response_code == 904 for event in sent for record in world.records(event))
    assert all(stored.paused == "" for stored in world.service.credentials.of(world.app))


def test_a_change_of_credentials_is_in_force_within_seconds_without_a_restart(world: World) -> None:
    for stored in world.service.credentials.of(world.app):
        world.service.credentials.delete(world.app, stored.id)
    world.iphone("ada")
    time.sleep(0.3)
    assert world.push("ada")[0].response_code == 901
    certificate = world.simulator.authority.issue_push_certificate(BUNDLE)
    world.service.credentials.upload(world.app, certificate.pkcs12(), "chat.p12")
    time.sleep(0.3)
    assert outcomes(world.push("ada")) == [Outcome.ACCEPTED]


def test_what_a_killed_worker_held_is_sent_by_another_and_nothing_is_lost(world: World) -> None:
    token = world.iphone("ada")
    world.simulator.faults.add("delay", token=token, delay_s=0.5)
    sent = [world.event("ada") for _ in range(200)]
    world.send(*sent)
    body = """
        import os, sys
        from pushsvc import bootstrap
        from pushsvc.config import Config
        flow = bootstrap.build(Config.from_env(os.environ)).flow("victim")
        while True:
            flow.step(20)
            if flow.in_flight:
                print("busy", flush=True)
    """
    victim = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(body)], env=world.environ, stdout=subprocess.PIPE, text=True
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == "busy\n"
    victim.kill()
    victim.wait()
    victim.stdout.close()
    world.run(lambda: all(outcomes(world.records(event)) == [Outcome.ACCEPTED] for event in sent), within_s=40)
    assert not waiting(world)
    assert {request.apns_id for request in world.arrived(token)} == {world.records(e)[0].push_id for e in sent}


def test_a_batch_costs_one_device_query_and_a_bounded_number_of_round_trips(world: World) -> None:
    import sqlalchemy as sa

    for number in range(20):
        world.iphone(f"user{number}")
    world.push("user0")
    statements: list[str] = []

    @sa.event.listens_for(world.service.database.engine, "before_cursor_execute")
    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    world.send(*(world.event(f"user{number % 20}") for number in range(200)))
    world.run(lambda: len(world.arrived()) == 201 and not world.flow.in_flight)
    assert len([one for one in statements if "device_tokens" in one]) == 1
