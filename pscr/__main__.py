"""`python -m pscr`."""

from .cli import main

raise SystemExit(main())
