"""The `sluss` command: what subcontractors, internal services and the company's teams do over gRPC."""
