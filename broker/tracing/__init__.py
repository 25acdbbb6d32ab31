"""Which recipients had received what has leaked, and canaries to find out (POLICY 4).

model.py       what is traced and what is found, free of protos and SQL
forms.py       in which forms a recipient could know a leaked text. Pure
likelihood.py  how likely it is that a list comes from one of its recipients. Pure
former.py      digests of values that were corrected, kept for tracing
finding.py     whom a row speaks of, and since when which value is theirs
ties.py        what the ledger says that recipients got of them
tracing.py     a trace, step by step
invention.py   values of persons who do not exist. Pure
canaries.py    planting, listing, retiring
"""
