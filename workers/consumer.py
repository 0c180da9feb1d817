"""The bootstep that works the event stream off: one thread, one flow, beside Celery's own consumer of tasks."""

from __future__ import annotations

import atexit
import gc
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery import bootsteps, signals
from celery.worker import state
from kombu.transport.redis import Channel

from pushsvc.config import BadConfig, Config
from pushsvc.directory.ports import VaultError
from pushsvc.dispatch.ports import StreamUnavailable
from pushsvc.store.database import StoreUnavailable
from pushsvc.stream.shelf import has_turn
from pushsvc.telemetry import MetricsServer

if TYPE_CHECKING:
    from pushsvc.bootstrap import Service
    from pushsvc.dispatch.flow import Flow

EX_CONFIG = 78  # sysexits.h
EX_UNAVAILABLE = 69  # sysexits.h
BLOCK_MS = 500  # how long a stop may wait for a quiet stream
BACKOFF_S = (0.1, 0.5, 1.0, 2.0, 5.0)  # after the first, second, … failure in a row
DRAIN_PAUSE_S = 0.005
TOLD_AGAIN_S = 60.0  # an outage is told at its beginning and then once a minute
LOOK_FOR_SIGNAL_EVERY_S = 0.2
UPKEEP_EVERY_S = 3600.0
LOOK_FOR_UPKEEP_EVERY_S = 60.0
STILL_S = 15.0  # a turn takes half a second at most where nothing is wrong; Valkey and the store may take 5 s each
POOLS = ("threads", "solo")

log = logging.getLogger("pushsvc.worker")


class Loop(threading.Thread):
    """Steps a flow until it is told to stop, then drains it.

    An outage is waited for. After any other exception the flow is drained and replaced: what it had read and has not
    finished counts as one delivery more and comes again, until it is a dead letter.
    """

    def __init__(
        self,
        make_flow: Callable[[], Flow],
        drain_s: float,
        now_and_then: Callable[[], None],
        fatal: Callable[[str], None],
    ) -> None:
        super().__init__(name="events", daemon=True)
        self._make_flow = make_flow
        self._drain_s = drain_s
        self._now_and_then = now_and_then
        self._fatal = fatal
        self._stopping = threading.Event()
        self._failures = 0
        self._told_at = float("-inf")
        self._turned_at = time.monotonic()

    def stuck(self) -> str:
        """Empty while the loop turns, else the cause and the cure; for another thread to ask."""
        still_s = time.monotonic() - self._turned_at
        if still_s < STILL_S:
            return ""
        return f"the event loop has not turned for {still_s:.0f} s. See this worker's log; if it stays so, restart it."

    def run(self) -> None:
        """Ends the worker where the loop ends unasked: a process that reads nothing must not look alive."""
        try:
            self._run()
        except BaseException:
            log.exception("the event loop ended")
            self._fatal("the event loop ended; see the line before this one")
            raise

    def _run(self) -> None:
        flow: Flow | None = None
        while not self._stopping.is_set():
            self._turned_at = time.monotonic()
            try:
                flow = flow or self._made()
                flow.step(BLOCK_MS)
                self._now_and_then()
            except BadConfig as error:
                self._fatal(str(error))
                break
            except (StreamUnavailable, StoreUnavailable) as error:
                self._wait_for(error)
            except Exception:
                log.exception("the event loop failed; its flow is drained and replaced")
                if flow is not None:
                    self._drain(flow)
                flow = None
                self._back_off()
            else:
                if self._failures:
                    log.info("events are worked off again")
                self._failures, self._told_at = 0, float("-inf")
        if flow is not None:
            self._drain(flow)

    def _made(self) -> Flow:
        try:
            return self._make_flow()
        except VaultError as error:  # the keys are in the config
            raise BadConfig(f"{error.cause}. {error.cure}") from error

    def _wait_for(self, error: StreamUnavailable | StoreUnavailable) -> None:
        now = time.monotonic()
        if now - self._told_at >= TOLD_AGAIN_S:
            self._told_at = now
            log.warning("events wait: %s", error.cause, extra={"cure": error.cure})
        self._back_off()

    def _back_off(self) -> None:
        self._stopping.wait(BACKOFF_S[min(self._failures, len(BACKOFF_S) - 1)])
        self._failures += 1

    def _drain(self, flow: Flow) -> None:
        """Reads nothing more, waits for the answers under way, and leaves the rest to the others."""
        flow.draining = True
        began = time.monotonic()
        failures = 0
        try:
            # _drain_s is read anew each time: a cold stop may come while this one waits, and Celery closes before both
            while flow.in_flight and time.monotonic() < began + self._drain_s and failures < len(BACKOFF_S):
                self._turned_at = time.monotonic()
                try:
                    flow.step(0)
                    time.sleep(DRAIN_PAUSE_S)
                except Exception as error:
                    log.warning("while draining: %s", error)
                    time.sleep(BACKOFF_S[failures])
                    failures += 1
            if flow.in_flight:
                log.warning("%d events are left to other workers", flow.in_flight)
        finally:
            try:
                flow.close()
            except Exception:
                log.exception("a flow did not close; its connections end with the process")

    def stop(self, drain: bool = True) -> None:
        """Tells the loop to end; returns at once. `join` waits for it."""
        if not drain:
            self._drain_s = 0.0
        self._stopping.set()


class EventConsumer(bootsteps.StartStopStep):
    """Runs a Loop for as long as the worker runs, and gives its tasks their service (`app.pushsvc`)."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, worker: Any, **kwargs: Any) -> None:
        super().__init__(worker, **kwargs)
        # msgspec may free a Struct's nested types twice in the last collection of all: SIGSEGV after a clean stop
        atexit.register(gc.freeze)
        # kombu 5.7 puts unacknowledged tasks back when it closes a lost connection, by way of that very connection, and
        # ends the worker with an AttributeError; they come back by themselves after the visibility timeout
        channel: Any = Channel
        channel.do_restore = property(lambda one: getattr(one.connection, "client", None) is not None)
        # workers share the stream and need to know nothing of each other's tasks; each would cost messages
        worker.options.update(without_gossip=True, without_mingle=True, without_heartbeat=True)
        self._loop: Loop | None = None
        self._service: Service | None = None
        self._metrics: MetricsServer | None = None
        self._look_at = 0.0
        signals.worker_shutdown.connect(self._closed, weak=False)  # when the tasks have ended too

    def start(self, worker: Any) -> None:
        """Ends the worker with a line that says why where there is no way to run."""
        from pushsvc import bootstrap  # here, so that importing the app opens nothing and costs nothing

        try:
            config = Config.from_env(os.environ)
            if not worker.pool_cls.__module__.endswith((".thread", ".solo")):
                raise BadConfig(f"pushsvc's worker runs with --pool {' or '.join(POOLS)}: a fork breaks connections.")
            service = self._service = bootstrap.build(config)
            worker.app.pushsvc = service
            loop = self._loop = Loop(
                lambda: service.flow(worker.hostname), config.drain_s, lambda: self._upkeep(worker.app), self._fatal
            )
            if config.metrics_listen is not None:
                self._metrics = _serve(config.metrics_listen, service, loop)
        except BadConfig as error:
            log.critical("config: %s", error)
            raise SystemExit(EX_CONFIG) from None
        except (StreamUnavailable, StoreUnavailable) as error:
            log.critical("%s. %s", error.cause, error.cure)
            raise SystemExit(EX_UNAVAILABLE) from None
        loop.start()

    def _fatal(self, cause: str) -> None:
        log.critical("config: %s", cause)
        state.should_stop = EX_CONFIG  # Celery's main loop looks at it at least once a second

    def _upkeep(self, app: Any) -> None:
        """Sends the upkeep task when it is its time and no other worker has: no beat process is needed."""
        now = time.monotonic()
        if now < self._look_at or self._service is None:
            return
        self._look_at = now + LOOK_FOR_UPKEEP_EVERY_S
        if has_turn(self._service.valkey, "upkeep", UPKEEP_EVERY_S):
            try:
                app.send_task("pushsvc.upkeep", retry=False)
            except Exception as error:  # whatever it is, the events go on
                log.warning("upkeep could not be scheduled: %s", error)

    def close(self, worker: Any) -> None:
        """The worker begins to stop: no event is read from now on."""
        if self._loop is not None:
            self._loop.stop()

    def stop(self, worker: Any) -> None:
        """Waits until what is under way has been answered, at most PUSHSVC_DRAIN_S, or until a cold stop is asked for.

        Celery does not look at its signals while it is in here.
        """
        while self._loop is not None and self._loop.is_alive():
            self._loop.join(LOOK_FOR_SIGNAL_EVERY_S)
            if state.should_terminate not in (None, False):
                self._loop.stop(drain=False)

    def terminate(self, worker: Any) -> None:
        """A cold stop: what is under way is left to the others at once."""
        if self._loop is not None:
            self._loop.stop(drain=False)
            self._loop.join()

    def _closed(self, **_: Any) -> None:
        if self._metrics is not None:
            self._metrics.close()
        if self._service is not None:
            self._service.close()
        self._metrics = self._service = None


def _serve(listen: tuple[str, int], service: Service, loop: Loop) -> MetricsServer:
    health = service.health
    try:
        return MetricsServer(listen, service.telemetry, lambda: health.look_of_worker(loop.stuck()), health.refresh)
    except OSError as error:
        raise BadConfig(
            f"PUSHSVC_METRICS_LISTEN={listen[0]}:{listen[1]}: {error.strerror}; each worker needs a port of its own."
        ) from error
