"""Messages and stubs of package `sluss.v1`, generated from the .proto files beside them."""
