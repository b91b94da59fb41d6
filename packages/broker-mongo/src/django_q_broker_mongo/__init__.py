"""The MongoDB broker of Django Q."""
