"""The Redis broker of Django Q."""
