"""Stolen credentials: cut off at once, and what happened in the suspect window (POLICY 4)."""
