"""Requests of a person: access, rectification, erasure, objection (POLICY 3 and 11; GDPR Art. 12 to 21).

model.py      what a request is: facts that may stay for ever, words that go with the person (pure)
rules.py      what may be done when; the state, which follows from the facts; the calendar of deadlines (pure)
rows.py       requests in the store, proven by the ledger whenever one is loaded; forgetting
tracking.py   what the privacy team does with one
telling.py    recipients of legal releases, whom people tell of what was done
doing.py      what is done to the data because of one: export, rectification, erasure, objection
following.py  how recipients followed: deletions attested, corrections told
access.py     the access export: everything held on a person, as canonical JSON
"""
