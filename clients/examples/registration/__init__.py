"""An internal registration service and its mailer; README.md shows how they run."""
