"""Every conversion between the wire and the domain: one file a service."""
