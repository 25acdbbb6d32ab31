"""For the legal team: releases as packages, documents, and the console in the browser. A gRPC client like any other.

words.py       the words for states, grounds, steps, events, outcomes; tongue.py and locale/ translate them
fields.py      the words for fields
proving.py     that an entry is in the ledger, also one that was hidden
releasing.py   carries out a release: streams, verifies, opens, and goes on where it stopped
package.py     what an authority gets: a file that opens with a passphrase, or sealed to its own key
stream_file.py what came of a release, kept until it has been handed over
data_files.py  released data as CSV and JSON lines
plain.py       messages as JSON for programs
passphrases.py made here, shown once
console.py     how the console releases
checking.py    the other side of it: opens a package and proves what is in it
documents/     cover sheet, accounting of disclosures, transparency report: PDF, HTML, CSV, JSON
web/           the console
"""
