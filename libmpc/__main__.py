"""``python -m libmpc``: the command line."""

from libmpc.cli.main import main

if __name__ == "__main__":
    main()
