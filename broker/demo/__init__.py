"""What `sluss demo` needs: an invented population, in the shape of a conferencing company's customer file."""
