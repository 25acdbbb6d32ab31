"""What an operator does on the broker's machine: a home, certificates, the catalogue, verification."""
