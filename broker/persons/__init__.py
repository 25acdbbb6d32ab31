"""The persons on record: registered, corrected, looked up, imported; and their choices (POLICY 1a, 2, 3).

model.py      what is asked and what is answered, free of protos and SQL
checking.py   values and words as the catalogue wants them; every fault of a row, masked. Pure
rows.py       persons, numbers and blind indexes in the store
register.py   a new person, once per request and per customer number
update.py     corrections under an etag
lookup.py     what is on record, who is behind an address, the handles of a contract
choices.py    opt-in and opt-out, in the ledger before the call returns
importing.py  customer files, batch by batch
"""
