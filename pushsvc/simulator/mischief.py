"""What happens to a complete request: it is judged, unless a fault has other plans for it."""

from typing import Protocol

from h2.errors import ErrorCodes

from .faults import REQUEST, Fault
from .journal import Arrival
from .link import Link
from .site import Answer, Session, Site


class Conversation(Protocol):
    """A connection that can answer and misbehave, whatever HTTP version it speaks."""

    link: Link
    site: Site
    session: Session
    held: list[tuple[Arrival, Answer]]

    def respond(self, arrival: Arrival, answer: Answer) -> None: ...
    def reset_stream(self, arrival: Arrival, code: ErrorCodes, fate: str) -> None: ...
    def goaway(self, code: ErrorCodes, last_stream: int, data: bytes) -> None: ...
    def drop(self, arrival: Arrival, fate: str) -> None: ...


def complete(talk: Conversation, arrival: Arrival) -> None:
    """Judges and answers a request whose body is in."""
    site = talk.site
    site.locate(arrival)
    faults = site.world.faults
    struck = faults.take(REQUEST, site.name, arrival.token, arrival.topic) if faults.active else []
    if struck:
        _complete_struck(talk, arrival, struck)
        return
    answer = site.answer(talk.session, arrival)
    if answer.status < 300:
        site.accepted(arrival)
    talk.respond(arrival, answer)


def _complete_struck(talk: Conversation, arrival: Arrival, struck: list[Fault]) -> None:
    site = talk.site
    by_name = {fault.kind.name: fault for fault in struck}
    if _ends_unprocessed(talk, arrival, by_name):
        return
    answer = site.answer(talk.session, arrival)
    for name in ("reason", "empty-error-body", "unknown-reason", "gone-without-body", "shutdown"):
        if name in by_name:
            answer = site.fault_answer(by_name[name], arrival)
    if answer.status < 300:
        site.accepted(arrival)
    if _ends_unanswered(talk, arrival, by_name):
        return
    if "out-of-order" in by_name:
        talk.held.append((arrival, answer))
        if len(talk.held) >= int(by_name["out-of-order"].options["hold"]):
            _release(talk)
        else:
            # Fewer may come than are to be held.
            talk.link.loop.call_later(1.0, _release, talk)
        return
    delay = by_name.get("delay")
    if delay is not None:
        talk.link.loop.call_later(float(delay.options["delay_s"]), _answer, talk, arrival, answer, by_name)
    else:
        _answer(talk, arrival, answer, by_name)


def _ends_unprocessed(talk: Conversation, arrival: Arrival, by_name: dict[str, Fault]) -> bool:
    """The faults that lose the request before anyone has looked at it."""
    if (reset := by_name.get("reset-stream")) is not None and reset.options["code"] == "REFUSED_STREAM":
        talk.reset_stream(arrival, ErrorCodes.REFUSED_STREAM, "refused")
    elif (goaway := by_name.get("goaway")) is not None and goaway.options["last"] != "this":
        last = goaway.options["last"]
        talk.goaway(_code(goaway), max(arrival.stream_id - 2, 0) if last == "previous" else int(last), _data(goaway))
        return arrival.fate != "pending"
    elif (close := by_name.get("close-after-request")) is not None and not close.options["processed"]:
        talk.drop(arrival, "closed")
        talk.link.cut("fault", close.options["how"])
    elif (silence := by_name.get("silence")) is not None and not silence.options["processed"]:
        talk.site.world.journal.settled(arrival, "silent")
    else:
        return False
    return True


def _ends_unanswered(talk: Conversation, arrival: Arrival, by_name: dict[str, Fault]) -> bool:
    """The faults that take the request and lose the answer."""
    if (reset := by_name.get("reset-stream")) is not None:
        talk.reset_stream(arrival, _code(reset), "reset")
    elif (close := by_name.get("close-after-request")) is not None:
        talk.drop(arrival, "closed")
        talk.link.cut("fault", close.options["how"])
    elif "silence" in by_name:
        talk.site.world.journal.settled(arrival, "silent")
    else:
        return False
    return True


def _answer(talk: Conversation, arrival: Arrival, answer: Answer, by_name: dict[str, Fault]) -> None:
    talk.respond(arrival, answer)
    goaway = by_name.get("goaway")
    if goaway is not None and goaway.options["last"] == "this":
        talk.goaway(_code(goaway), arrival.stream_id, _data(goaway))
    if "shutdown" in by_name:
        talk.goaway(ErrorCodes.NO_ERROR, arrival.stream_id, b'{"reason":"Shutdown"}')


def _release(talk: Conversation) -> None:
    held, talk.held = talk.held, []
    for arrival, answer in reversed(held):
        talk.respond(arrival, answer)


def _code(fault: Fault) -> ErrorCodes:
    return ErrorCodes[str(fault.options["code"])]


def _data(fault: Fault) -> bytes:
    return str(fault.options["data"]).encode()
