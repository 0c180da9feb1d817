"""An open push notification dispatcher: offline-user events in, APNs and FCM pushes out, every failure named."""

__version__ = "0.1.0"
