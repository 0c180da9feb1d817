"""The real Celery app with a stand-in for the service behind it: `celery -A standin worker`.

Its flow "sends" an event by writing its id to the list `sent` after STANDIN_SEND_S seconds. An event named boom makes
it fail, one named fatal ends the worker, one named hang stops its loop for a while.
"""

import contextlib
import os
import sys
import time
import types

import pushsvc
import workers.consumer
import workers.tasks
from pushsvc.config import BadConfig, Config
from pushsvc.dispatch.ports import Changes, Entry, StreamUnavailable
from pushsvc.domain import event as events
from pushsvc.domain.event import BadEvent
from pushsvc.stream.events import ValkeyStream
from pushsvc.stream.valkey import Valkey
from pushsvc.telemetry import Look, Metrics
from workers.app import app

SEND_S = float(os.environ.get("STANDIN_SEND_S", "0"))
HANG_S = 2.0
ROOM = 8
workers.consumer.STILL_S = float(os.environ.get("STANDIN_STILL_S", workers.consumer.STILL_S))
workers.tasks.PATIENCE_S = float(os.environ.get("STANDIN_PATIENCE_S", workers.tasks.PATIENCE_S))


class Flow:
    def __init__(self, service: "Service", name: str) -> None:
        self._valkey = service.valkey
        self._stream = ValkeyStream(service.valkey, 3600, name)
        self._sending: list[tuple[float, Entry, str]] = []
        self._claim_at = 0.0
        self.draining = False

    @property
    def in_flight(self) -> int:
        return len(self._sending)

    def step(self, block_ms: int) -> None:
        now = time.monotonic()
        room = ROOM - len(self._sending)
        if not self.draining and room > 0:
            found = []
            if now > self._claim_at:
                self._claim_at = now + 0.5
                found = self._stream.claim(room)
            for entry in found or self._stream.read(room, 20 if self._sending else block_ms):
                event_id = events.decode(entry.raw).id
                if event_id == "boom":
                    if entry.deliveries < 3:
                        raise RuntimeError("boom")
                    self._stream.bury(entry, "boom")
                    continue
                if event_id == "hang":
                    time.sleep(HANG_S)
                if event_id == "fatal":
                    raise BadConfig("PUSHSVC_VAULT_KEYS: no key opens this credential.")
                self._sending.append((now + SEND_S, entry, event_id))
        done = [item for item in self._sending if item[0] <= time.monotonic()]
        if done:
            self._valkey.call("RPUSH", "sent", *(event_id for _, _, event_id in done))
            self._stream.apply(Changes(done=[entry for _, entry, _ in done]))
            self._sending = [item for item in self._sending if item not in done]

    def close(self) -> None:
        self._stream.close()


class Overrides:
    def check_overrides(self, overrides: object) -> None:
        raise BadEvent("there are overrides", "Leave them out.", "apns")


class Health:
    def look_of_worker(self, stuck: str) -> Look:
        return Look({"loop": stuck, "valkey": ""})

    def refresh(self) -> None:
        pass


class Service:
    def __init__(self, config: Config) -> None:
        self.config = config
        self.valkey = Valkey(config.valkey_url)
        self.stream = ValkeyStream(self.valkey, config.marks_kept_s, "standin")
        self.providers = {"apns": Overrides(), "fcm": Overrides()}
        self.telemetry = Metrics()
        self.health = Health()

    def flow(self, name: str) -> Flow:
        return Flow(self, name)

    def upkeep(self) -> None:
        self.valkey.call("INCR", "upkept")

    def close(self) -> None:
        with contextlib.suppress(StreamUnavailable):
            self.valkey.call("INCR", "closed")
        self.valkey.close()


bootstrap = types.ModuleType("pushsvc.bootstrap")
bootstrap.build = Service
sys.modules["pushsvc.bootstrap"] = pushsvc.bootstrap = bootstrap

__all__ = ["app"]
