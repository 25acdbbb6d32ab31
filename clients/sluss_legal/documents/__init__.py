"""Documents for people outside: what they say is in one model, how it looks in one template per form.

    model.py       what a document is made of
    pdf.py         typst to PDF
    html.py        one page that needs nothing else
    cover.py       the cover sheet of a release
    accounting.py  who received a person's data
    report.py      the transparency report
    access.py      everything held about a person
    breach.py      the facts for a breach notice

Text from elsewhere reaches typst as JSON and HTML through escaping: it is never markup.
"""
