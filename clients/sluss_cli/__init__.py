"""The `sluss` command: what subcontractors, internal services and the company's teams do over gRPC."""

import os

# gRPC writes its own lines about connections to stderr; the command says what is wrong in one sentence.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
