"""The legal team's console in the browser: a gRPC client like any other, which holds no data.

    serve.py       listens: for one user on this machine, or for a team over TLS with client certificates
    app.py         routes
    guard.py       what holds for every request: Host, origin, size, headers
    doors.py       who is asking: the cookie of a one-time link, or the certificate of the connection
    sessions.py    sessions in memory, and the one-time links
    lines.py       one channel to the broker per user, with that user's own certificate
    page.py        what a view works with; broker errors become plain words here
    render.py      templates to HTML
    jobs.py        a release under way

The pages are inbox.py, cases.py, intake.py (with scope_form.py), releases.py, disclosures.py, persons.py,
contracts.py, report.py and health.py. Words, their translations and documents are those of `sluss_legal`.
"""
