"""Why a use case was refused: nothing was changed; the cause, and what the caller can do."""

from __future__ import annotations


class BadValue(ValueError):
    """A property that cannot be taken. Its value is not in it: it may be secret."""

    def __init__(self, prop: str, cause: str, cure: str) -> None:
        super().__init__(f"{prop}: {cause}")
        self.prop = prop
        self.cause = cause
        self.cure = cure


class NotFound(LookupError):
    """There is no such thing (any more), or it is another app's."""

    def __init__(self, prop: str, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.prop = prop
        self.cause = cause
        self.cure = cure


def no_app(app_id: int) -> NotFound:
    return NotFound("app", f"there is no app {app_id}", "`pushsvc app list` shows those that exist.")
