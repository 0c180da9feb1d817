"""The refusals of our own: what is known before anything is sent, as rows of the outcome table."""

from __future__ import annotations

from pushsvc.domain.outcome import Action, Outcome, Row

NOT_CONFIGURED = Row(
    "local",
    None,
    "NotConfigured",
    Outcome.NOT_CONFIGURED,
    Action.NONE,
    "The app has no credential for this provider.",
    "Upload one: a .p12 or .p8 for APNs, a service-account JSON for FCM.",
)
UNKNOWN_APP = Row(
    "local",
    None,
    "UnknownApp",
    Outcome.NOT_CONFIGURED,
    Action.NONE,
    "There is no app of the id that the event names.",
    "Create the app, or mend 'app' in the events.",
)
APP_DISABLED = Row(
    "local",
    None,
    "AppDisabled",
    Outcome.DISABLED,
    Action.NONE,
    "The app is switched off, so none of its pushes go out.",
    "Switch the app on again.",
)
PUSH_DISABLED = Row(
    "local",
    None,
    "PushDisabled",
    Outcome.DISABLED,
    Action.NONE,
    "The app's setting 'push' is off.",
    "Switch the setting on to send pushes again.",
)
CREDENTIAL_PAUSED = Row(
    "local",
    None,
    "CredentialPaused",
    Outcome.DISABLED,
    Action.NONE,
    "Every credential that could serve this push is paused, by hand or after the provider refused it repeatedly.",
    "Look up why it was paused, mend that, and resume the credential or upload a new one.",
)
CREDENTIAL_LOCKED = Row(
    "local",
    None,
    "CredentialLocked",
    Outcome.DISABLED,
    Action.TELL_OPERATOR,
    "The credential that could serve this push cannot be decrypted with the worker's vault keys.",
    "Give every worker the key that it was encrypted with (PUSHSVC_VAULT_KEYS, or vault.key), or upload it again.",
)
CERTIFICATE_EXPIRED = Row(
    "local",
    None,
    "CertificateExpired",
    Outcome.CERTIFICATE_EXPIRED,
    Action.TELL_OPERATOR,
    "The certificate for this topic is past its last day of validity.",
    "Make a new certificate in Apple's developer portal and upload its .p12; or upload a .p8 key, which never expires.",
)
CERTIFICATE_NOT_YET_VALID = Row(
    "local",
    None,
    "CertificateNotYetValid",
    Outcome.CERTIFICATE_ERROR,
    Action.TELL_OPERATOR,
    "The certificate for this topic is not valid yet.",
    "Check this server's clock; otherwise wait for the certificate's first day or upload another.",
)
CERTIFICATE_UNREADABLE = Row(
    "local",
    None,
    "CertificateUnreadable",
    Outcome.CERTIFICATE_ERROR,
    Action.NONE,
    "The uploaded file is not a .p12, or its certificate or private key is missing, damaged or not a pair.",
    "Export the certificate together with its private key again, and upload that .p12.",
)
WRONG_PASSWORD = Row(
    "local",
    None,
    "WrongPassword",
    Outcome.CERTIFICATE_ERROR,
    Action.NONE,
    "The .p12 does not open with the password given.",
    "Give the password that the .p12 was exported with, or export it again without one.",
)
KEY_UNREADABLE = Row(
    "local",
    None,
    "KeyUnreadable",
    Outcome.CERTIFICATE_ERROR,
    Action.NONE,
    "The uploaded .p8 key or service-account JSON cannot be used as what it is said to be.",
    "Upload the file as Apple or Google gave it out, unchanged.",
)
NO_KEY_FOR_TYPE = Row(
    "local",
    None,
    "KeyRequired",
    Outcome.CERTIFICATE_ERROR,
    Action.NONE,
    "Pushes of this type (location) can only be sent with a .p8 key, and the app has a certificate alone.",
    "Upload a .p8 key for the app.",
)
NO_CERTIFICATE_FOR_TYPE = Row(
    "local",
    None,
    "CertificateRequired",
    Outcome.CERTIFICATE_ERROR,
    Action.NONE,
    "Pushes of this type (mdm) can only be sent with an MDM push certificate, and the app has a key alone.",
    "Upload the MDM push certificate as a .p12.",
)
SANDBOX_NOT_SERVED = Row(
    "local",
    None,
    "SandboxNotServed",
    Outcome.CERTIFICATE_ERROR,
    Action.TELL_OPERATOR,
    "The device is a sandbox (development) device, and the app's credential is for production alone.",
    "Upload a universal certificate or a key for the sandbox, or register the device as production.",
)
PRODUCTION_NOT_SERVED = Row(
    "local",
    None,
    "ProductionNotServed",
    Outcome.PRODUCTION_REQUIRED,
    Action.TELL_OPERATOR,
    "The device is a production device, and the app's credential is for development (sandbox) alone.",
    "Upload a production or universal certificate, or a key for production.",
)
MALFORMED_TOKEN = Row(
    "local",
    None,
    "MalformedToken",
    Outcome.BAD_TOKEN,
    Action.DROP_TOKEN,
    "The stored APNs token cannot be one: it is not an even number (16 to 400) of hexadecimal digits.",
    "The app has to register its token again; check that it sends the token whole.",
)
TOPIC_NOT_SERVED = Row(
    "local",
    None,
    "TopicNotServed",
    Outcome.MISMATCH,
    Action.TELL_OPERATOR,
    "None of the app's credentials lists the topic of this push.",
    "Upload the credential of the app id that the device registered with; calls need one that lists its .voip topic.",
)
PAYLOAD_TOO_LARGE = Row(
    "local",
    None,
    "PayloadTooLarge",
    Outcome.BAD_PAYLOAD,
    Action.NONE,
    "The payload is over the provider's limit even after its texts were shortened and optional parts dropped.",
    "Make the event's overrides or the app's templates shorter.",
)
BAD_PAYLOAD = Row(
    "local",
    None,
    "BadPayload",
    Outcome.BAD_PAYLOAD,
    Action.NONE,
    "The event's overrides and the app's settings together make a push that the provider would refuse.",
    "Mend the event's overrides; docs/events.md says what may stand in them.",
)
VOIP_WITHOUT_CALL = Row(
    "local",
    None,
    "VoipWithoutCall",
    Outcome.BAD_PAYLOAD,
    Action.NONE,
    "The event asks for a VoIP push but is no call; iOS ends apps that get VoIP pushes without a call.",
    "Send the event with kind 'call', or leave the push type out.",
)
NO_DEVICE = Row(
    "local",
    None,
    "NoDevice",
    Outcome.NO_DEVICE,
    Action.NONE,
    Outcome.NO_DEVICE.cause,
    Outcome.NO_DEVICE.cure,
)
USER_DISABLED = Row(
    "local",
    None,
    "UserDisabled",
    Outcome.NO_DEVICE,
    Action.NONE,
    "The user is switched off, so nothing goes to the user's devices.",
    "Switch the user on again: pushsvc user switch.",
)
ONLINE_ONLY = Row(
    "local",
    None,
    "OnlineOnly",
    Outcome.SUPPRESSED,
    Action.NONE,
    "The event has expiry 0: it is for users who are online, and is never pushed.",
    "Nothing to do; give the event an expiry if it should wake the user's devices.",
)
QUIET_WINDOW = Row(
    "local",
    None,
    "QuietWindow",
    Outcome.SUPPRESSED,
    Action.NONE,
    "A later event of the same device took this one's place at the end of the minimum interval between wake-ups.",
    "Nothing to do; lower the setting 'min_interval_s' to wake devices more often.",
)
EXPIRED = Row(
    "local",
    None,
    "Expired",
    Outcome.EXPIRED,
    Action.NONE,
    Outcome.EXPIRED.cause,
    Outcome.EXPIRED.cure,
)

LOCAL_ROWS = (
    NOT_CONFIGURED,
    UNKNOWN_APP,
    APP_DISABLED,
    PUSH_DISABLED,
    CREDENTIAL_PAUSED,
    CREDENTIAL_LOCKED,
    CERTIFICATE_EXPIRED,
    CERTIFICATE_NOT_YET_VALID,
    CERTIFICATE_UNREADABLE,
    WRONG_PASSWORD,
    KEY_UNREADABLE,
    NO_KEY_FOR_TYPE,
    NO_CERTIFICATE_FOR_TYPE,
    SANDBOX_NOT_SERVED,
    PRODUCTION_NOT_SERVED,
    MALFORMED_TOKEN,
    TOPIC_NOT_SERVED,
    PAYLOAD_TOO_LARGE,
    BAD_PAYLOAD,
    VOIP_WITHOUT_CALL,
    NO_DEVICE,
    USER_DISABLED,
    ONLINE_ONLY,
    QUIET_WINDOW,
    EXPIRED,
)
