"""Key rings and the providers they come from."""
