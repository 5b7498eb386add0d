"""The version of the whole project, written once."""

__version__ = "0.2.0"
