"""Who owes, against a naive scan that asks of every field of every disclosure whether it is still there.

For an erasure the handle counts as a field: whoever got a slice has it, until it has deleted everything.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.obligations.rules import Disclosed, Gone, owing

FIELDS = st.frozensets(st.sampled_from(["email", "phone", "name.given"]))
CONTRACTS = st.sampled_from(["C-2026-0001", "C-2026-0002"])
DAYS = st.sampled_from(["2026-12-01", "2026-12-02"])
DISCLOSED = st.builds(
    lambda index, contract, fields, day: Disclosed(
        index, contract, f"subcontractor/{contract[-1]}", fields, day, asked=frozenset()
    ),
    st.integers(1, 20),
    CONTRACTS,
    FIELDS,
    DAYS,
)
GONE = st.builds(Gone, CONTRACTS, st.integers(0, 20), st.none() | FIELDS, st.none() | DAYS)


@given(st.lists(DISCLOSED, max_size=12), st.lists(GONE, max_size=6), st.none() | FIELDS)
def test_those_owe_who_by_a_naive_scan_still_have_a_field(disclosures, gone, wanted):
    expected = {}
    for each in disclosures:
        for name in each.fields | ({"handle"} if wanted is None else set()):
            deleted = any(
                one.contract == each.contract
                and each.index <= one.through
                and one.until in (None, each.until)
                and (one.fields is None or name in one.fields)
                for one in gone
            )
            if not deleted and (wanted is None or name in wanted):
                expected.setdefault((each.contract, each.recipient), set()).add(name)
    expected = {who: names - {"handle"} for who, names in expected.items()}
    assert owing(disclosures, gone, wanted) == expected
