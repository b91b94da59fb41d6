"""The version of every distribution in this repository: the one place that says it."""

__version__ = "2.0.0.dev0"
