"""The words of the service: frozen values and enums, no I/O, no clock."""
