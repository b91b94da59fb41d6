"""The IronMQ broker of Django Q."""
