"""A payment processor that gets accounts for single payments, and keeps proofs; README.md shows how it runs."""
