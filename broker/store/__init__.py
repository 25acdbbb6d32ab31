"""Tables, queries and migrations on SQLite and PostgreSQL."""
