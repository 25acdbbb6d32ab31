"""The broker: hands out purpose-scoped slices of personal data under contract, and logs every one of them."""
