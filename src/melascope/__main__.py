"""`python -m melascope` is the command `melascope`."""

from melascope.cli.main import main

main()
