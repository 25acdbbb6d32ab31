"""`python -m broker.demo` is `sluss demo`."""

import sys
from importlib.metadata import entry_points

if __name__ == "__main__":
    (command,) = entry_points(group="console_scripts", name="sluss")
    sys.argv[1:1] = ["demo"]
    command.load()()
