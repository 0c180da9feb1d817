"""The SQL store: rows <-> domain values, nothing else. SQLite by default, PostgreSQL by URL, the same code for both.

Nothing is imported here: what migrates the tables is slow to load, and few commands need it.
"""
