"""Anonymous information (POLICY 7, 8): counts and durations out of usage events, with noise and a privacy budget.

    recording.py   usage events in the store: who records, what is kept, what goes with an erased person
    question.py    what was asked, in the one form by which it is known again (pure)
    rules.py       who may ask what, and which numbers hold (pure)
    counting.py    exact totals of a question's cells, each person bounded; they never leave the process
    noise.py       the only module that touches opendp: mechanisms, thresholds
    answers.py     from noisy totals to the answer's bytes (pure)
    budget.py      what was spent, exact over processes
    answering.py   the spine: decide, count, draw, decide again under the lock, append, reply
    verifying.py    whether answers and budgets are what the ledger's entries say
    describing.py  what may be asked, and what is left

AGGREGATES.md beside the protos says what is guaranteed and what is not.
"""
