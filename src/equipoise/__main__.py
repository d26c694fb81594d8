"""``python -m equipoise``: the command-line program."""

from equipoise.cli import main

if __name__ == "__main__":
    main()
