"""The version of the whole project, written once."""

VERSION = "0.1.0"
