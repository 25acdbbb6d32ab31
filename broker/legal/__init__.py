"""Legal requests and releases (POLICY 6), and who received a person's data.

model.py        what a case is, and its canonical JSON (pure)
rules.py        who may do what when; what may be released (pure)
keeping.py      a case's keys: what seals it, and what the ledger is told of it
cases.py        cases in the store: open, step, change, secrecy, documents, timeline
releasing.py    a release as a sequence of asks to the spine
finding.py      persons for a scope, masked; what a scope would release
recipients.py   who received a person's data
report.py       the transparency report
"""
