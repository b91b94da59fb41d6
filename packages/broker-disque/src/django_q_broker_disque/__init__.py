"""The Disque broker of Django Q."""
