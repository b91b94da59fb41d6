"""Fixtures of the tests of core."""

from tests.core.distributions import site_packages

__all__ = ["site_packages"]
