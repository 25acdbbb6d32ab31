"""The outbox: messages to persons, on record in the transaction that they are about, taken by the company's mailers.

- kinds.py: what messages there are, limits, when a failed one is tried again: pure
- queue.py: queueing, and forgetting with an erasure
- consumers.py: what a consumer has not answered for, what it answered, what is dropped when all are done
- answers.py: what a request or complaint came to, with what the person is told
- holding.py: whose messages are held back, since a thief may have set the address
- showing.py: an item as its consumer gets it: the address as it is on record now, and what was sealed
"""
