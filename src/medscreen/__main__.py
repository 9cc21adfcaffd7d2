"""`python -m medscreen`: the `medscreen` command."""

from medscreen.cli import main

main()
