"""The benchmark, `hatch run bench`: this project and Django Q2 from PyPI, measured in one run."""
