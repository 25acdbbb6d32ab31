"""What the tests of the client ask for, and what they look at."""

from sluss_client.heads import CheckpointFile

from broker import sealing
from tests.unit.client.memory_broker import CONTRACT

PURPOSE = "billing.collection"
FIELDS = ["email", "name"]


def texts(broker, *persons):
    return [sealing.handle_text(broker.handles[person]) for person in persons]


def disclose(sluss, broker, *persons, **options):
    return sluss.disclose(CONTRACT, PURPOSE, FIELDS, texts(broker, *persons), **options)


def names(broker):
    return [name for name, _ in broker.calls]


def on_file(profile):
    return CheckpointFile(profile.checkpoint_path, profile.verifier()).load()
