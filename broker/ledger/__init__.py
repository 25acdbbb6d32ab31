"""The ledger: a Merkle tree (RFC 6962) over canonical entries; checkpoints, receipts, writer and verifier."""
