"""`python -m firstsight` is the command line; `torchrun -m firstsight` starts it several times."""

from firstsight.cli import main

if __name__ == "__main__":
    main()
