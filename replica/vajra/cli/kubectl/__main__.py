"""`python -m vajra.cli.kubectl` is `kubectl vajra`."""

from vajra.cli.kubectl.main import main

if __name__ == "__main__":
    main()
