"""The entry of an aggregate release: counts with noise, of nobody in particular."""

from __future__ import annotations

from broker.ledger.entry.form import base64url, make


def aggregate(
    at: int,
    *,
    contract: str,
    contract_version: int,
    recipient: str,
    purpose: str,
    event: str,
    question: bytes,
    answer: bytes,
    cells: int,
    suppressed: int,
    min_persons: int,
    noise: str,
    epsilon_micro: int,
    delta_nano: int,
    spent_micro: int,
    spent_delta_nano: int,
    period: str,
    policy: str,
) -> bytes:
    """An answer about usage left.

    Args:
        at: when.
        contract: the contract; empty for the company's own analysis.
        contract_version: its version, or 0.
        recipient: who got it.
        purpose: for what.
        event: what was counted.
        question: SHA-256 of the canonical question.
        answer: SHA-256 of the answer's bytes.
        cells: how many are published.
        suppressed: how many are not.
        min_persons: the fewest distinct persons behind a published one.
        noise: `laplace` or `gaussian`.
        epsilon_micro: what it has cost, in millionths of epsilon; 0 if it was paid for before.
        delta_nano: likewise, in thousand-millionths of delta; 0 with Laplace noise.
        spent_micro: what its budget has spent in the period, this included.
        spent_delta_nano: likewise.
        period: such as `2026-11` or `2026-Q4`.
        policy: the policy version in force.
    """
    return make(
        "aggregate",
        at,
        contract=contract,
        contract_version=contract_version,
        recipient=recipient,
        purpose=purpose,
        event=event,
        question=base64url(question),
        sha256=base64url(answer),
        cells=cells,
        suppressed=suppressed,
        min_persons=min_persons,
        noise=noise,
        epsilon_micro=epsilon_micro,
        delta_nano=delta_nano,
        spent_micro=spent_micro,
        spent_delta_nano=spent_delta_nano,
        period=period,
        policy=policy,
    )
