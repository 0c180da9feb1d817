"""The Celery application that works the event stream off."""
