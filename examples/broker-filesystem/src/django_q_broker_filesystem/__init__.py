"""A broker for Django Q that keeps its queues in a folder: no server, no database."""
