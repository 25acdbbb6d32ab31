"""Readers of customer files: CSV, JSON Lines and vCard, streamed, with masked reports of what is faulty."""
