"""Import root of the wire API: `from sluss.v1 import disclosure_pb2`."""
