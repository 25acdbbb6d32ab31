"""For the legal team: releases as packages, documents, and the console in the browser. A gRPC client like any other."""
