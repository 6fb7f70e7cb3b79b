"""``python -m kadam`` is the command line."""

from kadam.cli import main

if __name__ == "__main__":
    main()
