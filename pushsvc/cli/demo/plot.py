"""The demo's plot: which apps there are, who lives in them, and what happens to them."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable
from typing import Any

from pushsvc.cli.demo.scenario import (
    FCM,
    PRODUCTION,
    SANDBOX,
    AppPlan,
    Case,
    Cast,
    Expected,
    Phone,
    accepted,
    alert,
    background,
    call,
    data,
)
from pushsvc.simulator import Simulator

TEAM = "DEMOTEAM01"
CHAT, PROJECT = "com.example.chat", "demo-chat"
EVERYDAY_USERS, EVERYDAY_EVENTS = 40, 240
SINGLES = 20
SHORT_LIVED_S = 10.0  # long enough to be uploaded while it is valid
QUIET_S = 3

NAMES = ("Alice", "Bo", "Chandra", "Dmitri", "Eszter", "Fatima", "Goro", "Hana", "Ines", "Jomo")
TEXTS = (
    "Are you coming tonight?",
    "Das Paket ist da 📦",
    "J’arrive dans dix minutes",
    "今日は何時に会う？",
    "Photo from the lake",
    "The build is green again",
    "Can you call me back?",
    "See you at the station, platform 4",
)


class Plot:
    """Apps and cases made for a running simulator; `apps` are set up in order, then `cases` are sent as one file."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.cast = Cast(simulator.devices)
        self.apps: list[AppPlan] = []
        self.cases: list[Case] = []
        self.singles: list[Case] = []  # sent one by one over HTTP, when the rest has ended
        self.before_sending: list[Callable[[], object]] = []
        self.send_after = 0.0  # UNIX seconds: when the short-lived certificate has run out
        self._count = 0
        chat = self._chat_app()
        self._everyday(chat)
        self._calls(chat)
        self._tokens(chat)
        self._provider_trouble(chat)
        self._own_states(chat)
        self._alerts()
        self._settings()
        self._credentials()
        self._one_by_one(chat)

    # -- apps

    def _app(self, name: str, **settings: Any) -> AppPlan:
        app = AppPlan(name, settings)
        self.apps.append(app)
        return app

    def _certificate(
        self, app: AppPlan, bundle: str, kind: str = "universal", password: str = "", **options: Any
    ) -> Any:
        encryption = options.pop("encryption", "aes")
        certificate = self.simulator.authority.issue_push_certificate(bundle, TEAM, kind, **options)
        fields = {"password": password} if password else {}
        app.uploads.append((f"{bundle}-{kind}.p12", certificate.pkcs12(password, encryption), fields))
        return certificate

    def _key(self, app: AppPlan) -> None:
        key = self.simulator.authority.issue_apns_key(TEAM)
        app.uploads.append((f"AuthKey_{key.key_id}.p8", key.p8, {"team_id": key.team_id, "key_id": key.key_id}))

    def _service_account(self, app: AppPlan, project: str) -> None:
        account = self.simulator.authority.issue_service_account(project)
        app.uploads.append((f"{project}-firebase-adminsdk.json", json.dumps(account.as_json()).encode(), {}))

    def _chat_app(self) -> AppPlan:
        app = self._app("chat")
        self._certificate(app, CHAT, "multi-topic", password="old keychain", encryption="rc2-40")
        self._service_account(app, PROJECT)
        return app

    # -- events

    def _event(
        self,
        app: AppPlan,
        user: str | list[str],
        *arrives: Expected,
        ends: dict[str, tuple[str, int | None]] | None = None,
        why: str = "",
        kind: str = "message",
        **fields: Any,
    ) -> Case:
        self._count += 1
        given: dict[str, Any] = {
            "id": f"{app.name}-{self._count:04d}",
            "user": user,
            "kind": kind,
            "sent_at": time.time(),
        }
        if kind != "silent":
            who = NAMES[self._count % len(NAMES)]
            message: dict[str, Any] = {"id": 7_000_000 + self._count, "from": f"{who.lower()}@example.com", "name": who}
            if kind == "message":
                message["body"] = TEXTS[self._count % len(TEXTS)]
            given["message"] = message
        given.update(fields)
        case = Case(app.name, given, arrives, accepted(*arrives) if ends is None else ends, why)
        self.cases.append(case)
        return case

    def _everyday(self, app: AppPlan) -> None:
        """Some hundred ordinary messages to phones of every sort, alone and in small groups."""
        dice = random.Random(7)
        homes: dict[str, list[Expected]] = {}
        for number in range(EVERYDAY_USERS):
            user = f"user{number:02d}@example.com"
            homes[user] = []
            if number % 5 != 4:
                sandbox = number % 7 == 3
                phone = self.cast.iphone(
                    app, user, CHAT, home="sandbox" if sandbox else "production", voip=number % 2 == 0
                )
                homes[user].append(background(phone, SANDBOX if sandbox else PRODUCTION))
            if number % 5 == 4 or number % 3 == 0:
                homes[user].append(data(self.cast.android(app, user, CHAT, PROJECT)))
        users = list(homes)
        for _ in range(EVERYDAY_EVENTS):
            chosen = dice.sample(users, dice.choice((1, 1, 1, 1, 2, 5)))
            arrives = [one for user in chosen for one in homes[user]]
            self._event(
                app, chosen[0] if len(chosen) == 1 else chosen, *arrives, expiry=dice.choice((3600, 86_400, 604_800))
            )
        twice = self.cases[-1]
        self.cases.append(Case(twice.app, twice.event, (), {}, "the same event again: taken once"))

    def _one_by_one(self, app: AppPlan) -> None:
        """What one message takes when nothing else is under way."""
        quinn = self.cast.iphone(app, "quinn@example.com", CHAT)
        for _ in range(SINGLES):
            self._event(app, quinn.user, background(quinn))
            self.singles.append(self.cases.pop())

    def _calls(self, app: AppPlan) -> None:
        alice = self.cast.iphone(app, "alice@example.com", CHAT, voip=True)
        bob = self.cast.android(app, "bob@example.com", CHAT, PROJECT)
        carol = self.cast.iphone(app, "carol@example.com", CHAT)
        self._event(app, alice.user, call(alice), kind="call", expiry=30, why="rings by VoIP push")
        self._event(app, alice.user, call(alice), kind="call_cancelled", expiry=30, why="follows the call")
        self._event(app, bob.user, data(bob), kind="call", expiry=30, why="rings by high-priority data")
        self._event(app, carol.user, alert(carol), kind="call", expiry=30, why="no VoIP token: time-sensitive alert")
        self._event(app, carol.user, background(carol), kind="silent", why="silent: always background")

    def _tokens(self, app: AppPlan) -> None:
        """What becomes of tokens that are dead, or live elsewhere."""
        phones = self.simulator.devices
        dave = self.cast.iphone(app, "dave@example.com", CHAT, home="sandbox", registered_as="production")
        refused = background(dave, PRODUCTION, 400, "BadDeviceToken")
        served = background(dave, SANDBOX)
        why = "registered for the wrong environment: tried in the other, remembered"
        self._event(app, dave.user, refused, served, ends={served.token: ("accepted", 200)}, why=why)

        erin = self.cast.iphone(app, "erin@example.com", CHAT)
        gone = background(erin, PRODUCTION, 410, "Unregistered")
        self.before_sending.append(lambda: phones.unregister(gone.token))
        self._event(
            app, erin.user, gone, ends={gone.token: ("bad_token", 911)}, why="the app was uninstalled: token dropped"
        )

        frank = Phone("frank@example.com", "ios", CHAT, "production", push="0f" * 32)
        app.devices.append(frank.registration())
        nowhere = (
            background(frank, PRODUCTION, 400, "BadDeviceToken"),
            background(frank, SANDBOX, 400, "BadDeviceToken"),
        )
        why = "no such token in either environment: dropped"
        self._event(app, frank.user, *nowhere, ends={nowhere[0].token: ("bad_token", 911)}, why=why)

        grace = self.cast.android(app, "grace@example.com", CHAT, PROJECT)
        lost = data(grace, 404, "UNREGISTERED")
        self.before_sending.append(lambda: phones.unregister(lost.token))
        self._event(
            app, grace.user, lost, ends={lost.token: ("bad_token", 911)}, why="FCM no longer knows the token: dropped"
        )

        heidi = self.cast.iphone(app, "heidi@example.com", CHAT, topic="com.example.other")
        other = background(heidi, PRODUCTION, 400, "DeviceTokenNotForTopic")
        self._event(app, heidi.user, other, ends={other.token: ("mismatch", 912)}, why="the token is another app's")

        ivan = self.cast.android(app, "ivan@example.com", CHAT, "someone-elses-project")
        theirs = data(ivan, 403, "SENDER_ID_MISMATCH")
        self._event(
            app, ivan.user, theirs, ends={theirs.token: ("mismatch", 912)}, why="the token is another project's"
        )

    def _provider_trouble(self, app: AppPlan) -> None:
        """What is tried again, and what is passed through."""
        faults = self.simulator.faults
        judy = self.cast.iphone(app, "judy@example.com", CHAT)
        once = background(judy, PRODUCTION, 500, "InternalServerError")
        faults.add("reason", token=once.token, times=1, reason=once.reason)
        self._event(
            app, judy.user, once, background(judy), ends=accepted(background(judy)), why="APNs failed once: retried"
        )

        ken = self.cast.android(app, "ken@example.com", CHAT, PROJECT)
        busy = data(ken, 503, "UNAVAILABLE")
        faults.add("reason", token=busy.token, times=1, reason=busy.reason, retry_after=2)
        self._event(
            app, ken.user, busy, data(ken), ends=accepted(data(ken)), why="FCM said Retry-After: 2; retried after it"
        )

        lena = self.cast.iphone(app, "lena@example.com", CHAT)
        refused = background(lena, PRODUCTION, 0, "REFUSED_STREAM")
        faults.add("reset-stream", token=refused.token, times=1, code="REFUSED_STREAM")
        why = "its stream was refused unprocessed: sent again at once"
        self._event(app, lena.user, refused, background(lena), ends=accepted(background(lena)), why=why)

        mike = self.cast.iphone(app, "mike@example.com", CHAT)
        later = background(mike, PRODUCTION, 429, "TooManyRequests")
        faults.add("reason", token=later.token, reason=later.reason, retry_after=900)
        self._event(
            app, mike.user, later, ends={later.token: ("retrying", 429)}, why="told to wait 15 minutes: it waits"
        )

        nina = self.cast.iphone(app, "nina@example.com", CHAT)
        never = background(nina, PRODUCTION, 429, "TooManyRequests")
        faults.add("reason", token=never.token, reason=never.reason, retry_after=900)
        why = "told to wait beyond its expiry: APNs' own status is passed through"
        self._event(app, nina.user, never, ends={never.token: ("provider", 429)}, expiry=60, why=why)

    def _own_states(self, app: AppPlan) -> None:
        """What is decided before anything is sent."""
        olga = self.cast.iphone(app, "olga@example.com", CHAT)
        an_hour_ago = time.time() - 3600
        ends: dict[str, tuple[str, int | None]] = {"": ("expired", None)}
        self._event(app, olga.user, ends=ends, sent_at=an_hour_ago, expiry=60, why="its expiry has passed")
        self._event(app, olga.user, ends={"": ("suppressed", None)}, expiry=0, why="expiry 0: for online users only")
        self._event(app, "nobody@example.com", ends={"": ("no_device", None)}, why="no device is registered")
        pavel = self.cast.android(app, "pavel@example.com", CHAT, PROJECT)
        large = {"data": {"one": "x" * 3000, "two": "x" * 3000}}
        self._event(
            app, pavel.user, ends={data(pavel).token: ("bad_payload", 913)}, fcm=large, why="over FCM's 4096 bytes"
        )

    def _alerts(self) -> None:
        app = self._app(
            "alerts",
            background=False,
            sound="default",
            collapse=True,
            title_template="{name}",
            body_loc_key="MESSAGE_FROM",
            body_loc_args=["{name}", "{body}"],
        )
        self._key(app)
        self._service_account(app, "demo-alerts")
        rosa = self.cast.iphone(app, "rosa@example.com", "com.example.alerts")
        sam = self.cast.android(app, "sam@example.com", "com.example.alerts", "demo-alerts")
        shown = Expected(FCM, data(sam).token, "notification", "", "high")
        self._event(app, rosa.user, alert(rosa), why="background push off: a visible alert")
        self._event(app, sam.user, shown, why="background push off: a notification")
        for _ in range(8):
            self._event(app, rosa.user, alert(rosa))
            self._event(app, sam.user, shown)

    def _settings(self) -> None:
        """Settings that change where a push goes, or whether."""
        off = self._app("switched-off", push=False)
        self._certificate(off, "com.example.off")
        tina = self.cast.iphone(off, "tina@example.com", "com.example.off")
        self._event(off, tina.user, ends={background(tina).token: ("disabled", 902)}, why="push is switched off")

        auto = self._app("autoroute", autoroute=True)
        self._certificate(auto, "com.example.auto")
        self._service_account(auto, "demo-auto")
        uma = self.cast.iphone(auto, "uma@example.com", "com.example.auto")
        uma.fcm = self.simulator.devices.fcm("demo-auto", "com.example.auto", platform="ios").token
        auto.devices[-1] = uma.registration()
        through_fcm = Expected(FCM, uma.fcm, "data", "", "5")
        self._event(auto, uma.user, through_fcm, why="an iPhone with an FCM token goes through FCM")

        moved = self._app("sandbox-to-production", sandbox_to_production=True)
        self._certificate(moved, "com.example.moved")
        vera = self.cast.iphone(moved, "vera@example.com", "com.example.moved", registered_as="sandbox")
        self._event(moved, vera.user, background(vera), why="sandbox pushes go to the production server")

        quiet = self._app("quiet", min_interval_s=QUIET_S)
        self._certificate(quiet, "com.example.quiet", "production", password="3DES", encryption="3des")
        self._certificate(quiet, "com.example.quiet", "voip")
        walt = self.cast.iphone(quiet, "walt@example.com", "com.example.quiet", voip=True)
        token = background(walt).token
        self._event(quiet, walt.user, background(walt), why="opens the quiet window")
        self._event(
            quiet, walt.user, ends={token: ("suppressed", None)}, why="within the window: the next one takes its place"
        )
        self._event(quiet, walt.user, background(walt), why="the one trailing wake-up at the window's end")
        self._event(quiet, walt.user, call(walt), kind="call", expiry=30, why="calls do not wait")

    def _credentials(self) -> None:
        """Credentials that are missing, expired, revoked, or of the other environment."""
        half = self._app("no-fcm")
        self._certificate(half, "com.example.half")
        xena = self.cast.android(half, "xena@example.com", "com.example.half", "demo-half")
        self._event(half, xena.user, ends={data(xena).token: ("not_configured", 901)}, why="no FCM credential")

        old = self._app("expired")
        self._certificate(old, "com.example.old", valid_for_s=SHORT_LIVED_S)
        self.send_after = time.time() + SHORT_LIVED_S
        yuri = self.cast.iphone(old, "yuri@example.com", "com.example.old")
        self._event(
            old,
            yuri.user,
            ends={background(yuri).token: ("certificate_expired", 903)},
            why="the certificate ran out since",
        )

        revoked = self._app("revoked")
        taken_back = self._certificate(revoked, "com.example.revoked")
        zoe = self.cast.iphone(revoked, "zoe@example.com", "com.example.revoked")
        self.before_sending.append(lambda: self.simulator.authority.revoke(taken_back))
        ends: dict[str, tuple[str, int | None]] = {background(zoe).token: ("certificate_error", 904)}
        self._event(revoked, zoe.user, ends=ends, expiry=20, why="Apple revoked the certificate: refused in TLS")

        development = self._app("development")
        self._certificate(development, "com.example.dev", "development")
        adam = self.cast.iphone(development, "adam@example.com", "com.example.dev")
        ends = {background(adam).token: ("production_required", 905)}
        self._event(development, adam.user, ends=ends, why="a development certificate, a production device")
