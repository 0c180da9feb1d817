"""Use cases over users. Most users are made by the registration of their first device."""

from __future__ import annotations

import msgspec

from pushsvc.directory.ports import StoredUser, UserStore
from pushsvc.directory.refused import BadValue, NotFound, no_app
from pushsvc.domain.event import User

MAX_PAGE = 1000


class UserDirectory:
    def __init__(self, store: UserStore) -> None:
        self._store = store

    def add(self, app_id: int, address: str) -> StoredUser:
        """The user with this address, made where it is new. Raises BadValue, NotFound."""
        checked = checked_user(address)
        if not isinstance(checked, str):
            raise BadValue("address", "a new user is named by an address, not by a uid", "Give a text.")
        user = self._store.add(app_id, checked)
        if user is None:
            raise no_app(app_id)
        return user

    def get(self, app_id: int, user: int | str) -> StoredUser:
        """By uid or address. Raises NotFound."""
        found = self._store.get(app_id, checked_user(user))
        if found is None:
            raise no_user(user)
        return found

    def page(self, app_id: int, after_uid: int = 0, limit: int = 100) -> list[StoredUser]:
        """Users in the order of their uids, from the first after `after_uid`; `limit` is 1000 at most."""
        return self._store.page(app_id, after_uid, max(1, min(limit, MAX_PAGE)))

    def set_active(self, app_id: int, user: int | str, active: bool) -> StoredUser:
        """No push goes to a user who is not active; the devices stay registered. Raises NotFound."""
        found = self.get(app_id, user)
        if not self._store.set_active(app_id, found.uid, active):
            raise no_user(user)
        return StoredUser(app_id, found.uid, found.address, active)

    def delete(self, app_id: int, user: int | str) -> None:
        """Deletes the user and the device tokens. Raises NotFound."""
        if not self._store.delete(app_id, self.get(app_id, user).uid):
            raise no_user(user)


def checked_user(user: object) -> int | str:
    """A uid or address as events have them; raises BadValue."""
    try:
        checked: int | str = msgspec.convert(user, User)
        str(checked).encode()
        return checked
    except (msgspec.ValidationError, UnicodeError) as error:
        raise BadValue(
            "user",
            str(error) if isinstance(error, msgspec.ValidationError) else "the address is not Unicode text",
            "Give a uid (a whole number from 1), or an address of at most 63 characters without commas and controls.",
        ) from None


def no_user(user: int | str) -> NotFound:
    named = f"with the uid {user}" if isinstance(user, int) else "with this address"
    return NotFound(
        "user", f"the app has no user {named}", "Register a device for the user's address, or add the user."
    )
