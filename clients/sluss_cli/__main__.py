"""`python -m sluss_cli` is `sluss`."""

from sluss_cli.main import main

main()
