"""Data that ships with the broker: the catalogue, and tables that invented persons are made of."""
