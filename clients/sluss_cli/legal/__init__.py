"""`sluss legal`: legal requests from intake to release, who received a person's data, the transparency report."""

from sluss_cli.legal import accounts, casework, changes, paper, persons, releases, steps
from sluss_cli.verb import group

app = group(
    "Legal requests: open, show, list, review, ask-information, challenge, reject, prepare, approve, emergency,"
    " confirm, dispute, close, change, note, document, hide, prolong, lift, find, preview, release, record, check;"
    " who received a person's data: recipients, opening; the transparency report."
)
app.add_typer(paper.app, name="document")
for part in (casework, steps, changes, persons, releases, accounts):
    part.register(app)
