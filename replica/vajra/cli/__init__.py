"""The command line: `vajra serve`, `chat`, `generate`, `bench`, `model`, `config`, `version`.

Modules of commands import only typer at their top: `vajra --help` must not wait for anything else.
"""
