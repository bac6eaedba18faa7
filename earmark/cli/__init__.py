"""The `earmark` command."""


def main() -> None:
    """Runs the command and exits."""
    from earmark.cli.app import run

    run()
