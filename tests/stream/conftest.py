from valkey_fixture import running_valkey, valkey

__all__ = ["running_valkey", "valkey"]
