"""The version of pscr, below everything that names it."""

__version__ = "1.0.0"
