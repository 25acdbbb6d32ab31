"""What recipients owe afterwards: delete by a day, correct, erase (POLICY 3; GDPR Art. 17, 19 and 28).

statement.py    what a recipient signs when it answers (pure)
rules.py        where an obligation stands by its entries; who owes what by a person's disclosures (pure)
rows.py         obligations in the store and in the ledger
owing.py        makes the obligations of a rectification or an erasure; how far a cause has come
retention.py    the day by which each disclosure is to be deleted
answering.py    what recipients and the company do with an obligation
chasing.py      reminders, escalation, what nobody answers for
report.py       what is overdue, by recipient
"""
