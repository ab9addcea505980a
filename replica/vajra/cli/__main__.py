"""`python -m vajra.cli`."""

from vajra.cli.main import main

main()
