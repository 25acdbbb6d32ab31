"""Choices of persons: opt-in and opt-out per purpose and channel (POLICY 1c, 1d, 2)."""
