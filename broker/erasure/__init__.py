"""Erasure (POLICY 3, DESIGN promise 6): nothing of a person stays, and every old proof still verifies."""
