"""Policy versions: their texts, when they take effect, who accepted them, who was told (POLICY 10).

- model.py: what is asked and answered; canonical texts and their digest: pure
- versions.py: publishing and showing, and where versions stand by their entries
- acceptances.py: recording and listing acceptances, and forgetting them with an erasure
- notices.py: telling everybody of a new version, over the outbox
"""
