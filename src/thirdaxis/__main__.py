"""`python -m thirdaxis` is the command `thirdaxis`."""

from thirdaxis.cli.main import main

if __name__ == "__main__":
    main()
