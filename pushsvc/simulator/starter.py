"""A starter set in a folder: a credential of each kind and three device tokens, good at every start in that folder."""

import json
from typing import TYPE_CHECKING

from .authority import write_private
from .devices import make_apns_token, make_fcm_token

if TYPE_CHECKING:
    from .simulator import Simulator

BUNDLE_ID = "com.example.chat"
PROJECT = "example-chat"
TEAM = "TEAM000001"
KEY_ID = "SIMULATOR1"
PASSWORD = "secret"  # of chat.p12, told to everyone

P12, P8, SERVICE_ACCOUNT = "chat.p12", f"AuthKey_{KEY_ID}.p8", "service-account.json"
PUSH_TOKEN, VOIP_TOKEN, FCM_TOKEN = "push.token", "voip.token", "fcm.token"  # names of files


def lay_out(simulator: "Simulator") -> None:
    """Writes into the simulator's folder what is not there yet, and makes the simulator know all of it."""
    authority, folder = simulator.authority, simulator.authority.folder
    if not (folder / P12).exists():
        issued = authority.issue_push_certificate(BUNDLE_ID, TEAM, "multi-topic")
        write_private(folder / P12, issued.pkcs12(PASSWORD))
    if (folder / P8).exists():
        authority.adopt_apns_key(TEAM, KEY_ID, (folder / P8).read_bytes())
    else:
        write_private(folder / P8, authority.issue_apns_key(TEAM, KEY_ID).p8)
    if (folder / SERVICE_ACCOUNT).exists():
        authority.adopt_service_account(json.loads((folder / SERVICE_ACCOUNT).read_text()))
    else:
        account = authority.issue_service_account(PROJECT).as_json()
        write_private(folder / SERVICE_ACCOUNT, json.dumps(account, indent=2).encode())
    for name, make in ((PUSH_TOKEN, make_apns_token), (VOIP_TOKEN, make_apns_token), (FCM_TOKEN, make_fcm_token)):
        if not (folder / name).exists():
            write_private(folder / name, make().encode())
    push, voip, fcm = ((folder / name).read_text().strip() for name in (PUSH_TOKEN, VOIP_TOKEN, FCM_TOKEN))
    simulator.devices.apns("production", BUNDLE_ID, token=push)
    simulator.devices.apns("production", f"{BUNDLE_ID}.voip", token=voip)
    simulator.devices.fcm(PROJECT, BUNDLE_ID, token=fcm)
