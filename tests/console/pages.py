"""What people do on the console's pages, by the words that they see."""

import re

from tests.support.memory_legal import today


def fill_request(page):
    page.get_by_role("radio", name=re.compile("Law or legal process")).check()
    page.get_by_label("To be answered by").fill(today(14))
    page.get_by_label("Authority, court, party or buyer").fill("Svea hovrätt")
    page.get_by_label("Country", exact=True).first.fill("SE")
    page.get_by_label("Postal address").fill("Box 2290, 103 17 Stockholm")
    page.get_by_label("Whom to reach there").fill("Registrator, 08-561 670 00")
    page.get_by_label("Instrument").select_option("court_order")
    page.get_by_label("Their reference").fill("Ö 1234-26")
    page.get_by_label("Its date").fill(today(-2))


def origin(page):
    return re.match(r"https?://[^/]+", page.url)[0]


def step(page, name):
    summary = page.locator("summary").filter(has_text=re.compile(f"^{name}$"))
    details = summary.locator("xpath=..")
    if details.get_attribute("open") is None:
        summary.click()
    details.get_by_label("Why").fill(f"{name}: as the law asks")
    details.get_by_role("button", name=name).click()
    page.get_by_text(f"Done: {name}.").wait_for()
