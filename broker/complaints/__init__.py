"""Complaints: investigated, decided by somebody who is not judged, remedied, and closed (POLICY 5)."""
