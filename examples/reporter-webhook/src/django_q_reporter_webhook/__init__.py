"""Tells a webhook, such as a chat channel's, of the errors of Django Q's tasks."""
