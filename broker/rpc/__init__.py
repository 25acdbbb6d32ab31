"""One servicer per service of sluss.v1."""
