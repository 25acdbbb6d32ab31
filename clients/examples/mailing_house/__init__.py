"""A mailing house that writes letters to whoever may get them; README.md shows how it runs."""
