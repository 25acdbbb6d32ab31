"""Exit codes of every verb: those of `broker.exits`, which the operator's verbs end with too."""

from broker.exits import MEANING, Exit, exit_of, table

__all__ = ["MEANING", "Exit", "exit_of", "table"]
