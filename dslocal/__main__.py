"""``python -m dslocal``."""

from dslocal.cli.main import main

main()
