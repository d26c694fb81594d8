"""The command-line program."""


def main() -> None:
    """Run the program with the arguments of the command line."""
    from equipoise.cli.app import app

    app(prog_name="equipoise")
