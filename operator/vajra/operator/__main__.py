"""`python -m vajra.operator`."""

import sys

from vajra.operator.main import main

if __name__ == "__main__":
    sys.exit(main())
