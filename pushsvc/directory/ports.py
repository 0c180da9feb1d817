"""What the use cases need of the world, as Protocols, and the values that pass between them and the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pushsvc.domain.app import App, Settings
from pushsvc.domain.credential import Finding
from pushsvc.domain.device import Device, Environment, Platform, TokenKind


@dataclass(frozen=True, slots=True)
class StoredApp:
    """An app as it is stored; its `credentials` are left empty. `created_at` is UNIX seconds."""

    app: App
    created_at: float


@dataclass(frozen=True, slots=True)
class StoredUser:
    """A user; pushes go to active ones only."""

    app_id: int
    uid: int
    address: str
    active: bool


@dataclass(frozen=True, slots=True)
class StoredCredential:
    """A credential as it is stored: `sealed` is its secret, encrypted. `uploaded_at` is UNIX seconds."""

    id: int
    app_id: int
    finding: Finding
    sealed: bytes = field(repr=False)
    paused: str
    uploaded_at: float


@dataclass(frozen=True, slots=True)
class Registration:
    """A device of a user (an address, created where it is new, or a uid) with one to three tokens, one of a kind.

    Tokens are as the store keeps them: hexadecimal ones in lower case. `environment` belongs to APNs and VoIP tokens.
    """

    app_id: int
    user: int | str
    platform: Platform
    appid: str
    name: str
    environment: Environment | None
    tokens: tuple[tuple[TokenKind, str], ...] = field(repr=False)


class AppStore(Protocol):
    def create(self, name: str, token_hash: bytes, settings: Settings, now: float) -> int:
        """Returns the new app's id."""
        ...

    def of_token(self, token_hash: bytes, *, active: bool = True) -> int | None:
        """The active app with this app token."""
        ...

    def get(self, app_ids: Sequence[int]) -> Mapping[int, StoredApp]:
        """Those of the apps that exist."""
        ...

    def all(self) -> list[StoredApp]:
        """Every app, oldest first."""
        ...

    def replace_token(self, app_id: int, token_hash: bytes) -> bool: ...

    def rename(self, app_id: int, name: str) -> bool: ...

    def set_active(self, app_id: int, active: bool) -> bool: ...

    def change_settings(self, app_id: int, change: SettingsChange) -> Settings | None:
        """Reads, changes and writes in one transaction; None where there is no such app."""
        ...

    def delete(self, app_id: int) -> bool:
        """Deletes the app with all that is its own; records of its events too."""
        ...


class SettingsChange(Protocol):
    def __call__(self, old: Settings, /) -> Settings: ...


class UserStore(Protocol):
    def add(self, app_id: int, address: str) -> StoredUser | None:
        """The user with this address, created where it is new; None where there is no such app."""
        ...

    def get(self, app_id: int, user: int | str) -> StoredUser | None: ...

    def page(self, app_id: int, after_uid: int, limit: int) -> list[StoredUser]:
        """Users in the order of their uids, from the first after `after_uid`."""
        ...

    def set_active(self, app_id: int, uid: int, active: bool) -> bool: ...

    def delete(self, app_id: int, uid: int) -> bool:
        """Deletes the user with the device tokens."""
        ...


class DeviceStore(Protocol):
    def register(self, registrations: Sequence[Registration], now: float) -> list[Device | None]:
        """Stores all of them in one transaction; in their order, None where the app or uid does not exist."""
        ...

    def of_user(self, app_id: int, user: int | str) -> tuple[Device, ...]:
        """The user's devices, of an inactive user too."""
        ...

    def with_token(self, app_id: int, token: int | str) -> Device | None:
        """The device that a token id, or a token, belongs to."""
        ...

    def known_as(self, app_id: int, kind: TokenKind, tokens: Sequence[str]) -> set[str]:
        """Those of the tokens that the app has registered as this kind."""
        ...

    def remove(self, app_id: int, uid: int, token: str | None) -> int:
        """Deletes one token of the user, or all (None); returns how many."""
        ...


class CredentialStore(Protocol):
    def put(self, app_id: int, finding: Finding, sealed: bytes, now: float) -> int | None:
        """Stores a credential under a new id, in place of one with the same fingerprint; None: no such app."""
        ...

    def of(self, app_ids: Sequence[int]) -> list[StoredCredential]:
        """The credentials of these apps, oldest first."""
        ...

    def all(self) -> list[StoredCredential]: ...

    def get(self, credential_id: int) -> StoredCredential | None: ...

    def pause(self, credential_id: int, fingerprint: str, reason: str) -> int | None:
        """Sets the reason ("" resumes) and returns the app's id; None where the credential is gone or another."""
        ...

    def reseal(self, credential_id: int, old: bytes, new: bytes) -> bool:
        """Replaces the sealed secret if it is still `old`."""
        ...

    def delete(self, app_id: int, credential_id: int) -> bool: ...


class Vault(Protocol):
    def seal(self, secret: bytes, bound_to: str) -> bytes:
        """Encrypts; only `open` with the same `bound_to` gives the secret back."""
        ...

    def open(self, sealed: bytes, bound_to: str) -> bytes:
        """Raises VaultError, with cause and cure, where it cannot."""
        ...

    def rotate(self, sealed: bytes, bound_to: str) -> bytes | None:
        """The same secret encrypted with the first key; None where it is so already."""
        ...


class VaultError(Exception):
    """A secret that cannot be encrypted or decrypted. Nothing secret is in it; `cure` is for the operator."""

    def __init__(self, cause: str, cure: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.cure = cure


class Versions(Protocol):
    """A number for each app that all processes see, and that grows with every change of the app."""

    def versions(self, app_ids: Sequence[int]) -> list[int]:
        """One round trip, in the order asked; 0 for an app never changed."""
        ...

    def bump(self, app_id: int) -> None: ...
