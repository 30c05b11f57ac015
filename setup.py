"""Everything is said in pyproject.toml; this serves tools that ask for setup.py."""

from setuptools import setup

setup()
