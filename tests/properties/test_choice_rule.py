"""The rule of choices against a reference that is as naive as can be: every moment, every channel, no early exits."""

from __future__ import annotations

import random
from itertools import permutations

from broker.catalogue import parse_catalogue
from broker.catalogue.history import ages, with_ages
from broker.channels import CHANNELS
from broker.choices.history import deciding, in_force
from broker.choices.model import ChoiceMade, Line
from broker.choices.rule import CHOICE_RULES, NO_FIELDS, Question, allowed, dump, left_out, load, needed
from tests.support.catalogues import aged

SHORT, WHOLE = 20_000, 400_000
CODES = ["a", "a.b", "a.b.c", "a.d", "e", "e.f"]
FIELDS = {"email": ("email",), "phone": ("phone",), "mobile": ("phone", "sms"), "street": ("post",), "name": ()}
HEAD = 'format = 1\n[policy]\nversion = "1"\neffective = "2026-01-01T00:00:00Z"\n' + "".join(
    f'[[field]]\nname = "{name}"\ncategory = "contact"\ntype = "text"\nen = "x"\nsv = "x"\n'
    f"channels = {list(channels)}\n"
    for name, channels in FIELDS.items()
)


def edition(draw):
    """A catalogue of some purposes, its classes by root; children of a purpose with a channel have that channel."""
    present, channel = {}, {}
    kinds = {root: draw.choice(["secondary_own", "secondary_third_party", "secondary_third_party"]) for root in "ae"}
    for code in CODES:
        above = code.rpartition(".")[0]
        if (not above or above in present) and draw.random() < 0.85:
            present[code] = kinds[code[0]]
            channel[code] = channel.get(above) or draw.choice(["", "", "", "email", "sms"])
    present.setdefault("e", kinds["e"])
    return "".join(
        f'[[purpose]]\ncode = "{code}"\nkind = "{kind}"\ndpv = "https://w3id.org/dpv#Marketing"\nen = "x"\nsv = "x"\n'
        + (f'channel = "{channel[code]}"\n' if channel.get(code) else "")
        for code, kind in present.items()
    )


def ancestors(code):
    parts = code.split(".")
    return {".".join(parts[: n + 1]) for n in range(len(parts))}


def unbroken(editions, code, at, same):
    """Whether a purpose has been in every catalogue from a moment on, and the same in them."""
    seen = [one for when, one in editions if when >= at]
    before = [one for when, one in editions if when < at]
    seen = before[-1:] + seen
    if not before or any(code not in one.purposes for one in seen):
        return False
    return len({same(one.purposes[code]) for one in seen}) == 1


def newest_of(lines, purpose):
    """Channel -> (when, whether it is an opt-out) of the newest choice on a purpose; of two at one time the opt-out."""
    newest = {}
    for line in lines:
        for each in (line.choice.channels or CHANNELS) if line.choice.purpose == purpose else ():
            newest[each] = max(newest.get(each, (0, False)), (line.chosen_at, line.choice.state == "out"))
    return newest


def says_no(editions, newest, purpose, channel):
    """Whether an opt-out stands for the channel; one older than the purpose's form is for all with nothing newer."""
    for each, (at, out) in newest.items():
        old = not unbroken(editions, purpose, at, lambda found: (found.kind, found.channel))
        if out and (each == channel or (old and (channel not in newest or newest[channel][0] <= at))):
            return True
    return False


def model(editions, lines, code):
    """The channels that are allowed, by reading all choices at all channels."""
    third = str(editions[-1][1].purposes[code].kind) == "secondary_third_party"
    result = set()
    for channel in CHANNELS:
        said_no, said_yes = False, not third
        for purpose in CODES:
            newest = newest_of(lines, purpose)
            if purpose in ancestors(code) or code in ancestors(purpose):
                said_no |= says_no(editions, newest, purpose, channel)
            at, out = newest.get(channel, (0, True))
            if purpose in ancestors(code) and not out:
                said_yes |= unbroken(editions, code, at, lambda found: found.kind)
        if said_yes and not said_no:
            result.add(channel)
    return result


def question_of(catalogue, code, fields):
    found = catalogue.purposes[code]
    needs = {name: needed(FIELDS[name], found.channel) for name in fields if FIELDS[name]}
    return Question(CHOICE_RULES[found.kind], code, found.channel, found.since, catalogue.formed, needs)


def model_left_out(channels, channel, fields):
    """What is left out, field by field; None for a person who is not available."""
    if not channels or (channel and channel not in channels):
        return None
    out, reaching = set(), 0
    for name in fields:
        if FIELDS[name]:
            reaching += 1
            if channel in FIELDS[name]:
                gone = channel not in channels
            else:
                gone = any(each not in channels for each in FIELDS[name])
            out |= {name} if gone else set()
    return None if out and len(out) == reaching else out


def some_lines(draw, most):
    times = [draw.randrange(2, 60) for _ in range(most)]
    return [
        Line(
            number,
            ChoiceMade(
                draw.choice(CODES),
                draw.choice(["in", "in", "out"]),
                tuple(sorted(draw.sample(CHANNELS, draw.choice([0, 0, 0, 1, 1, 2, 3, 4])))),
            ),
            "s",
            "",
            "1",
            at,
            at,
        )
        for number, at in enumerate(times)
    ]


def history(draw):
    """Catalogues in force one after the other."""
    times = [0, *sorted(draw.sample(range(1, 60), draw.choice([0, 0, 1, 2, 3])))]
    return [(at, parse_catalogue(HEAD + edition(draw))) for at in times]


def test_the_rule_allows_exactly_what_a_naive_reading_of_all_choices_allows(campaign):
    draw = random.Random(20261126)
    histories = [history(draw) for _ in range(60)]
    seen = {"everything": 0, "something": 0, "nothing": 0, "some fields": 0}
    for _ in range(WHOLE if campaign else SHORT):
        editions = draw.choice(histories)
        catalogue = with_ages(editions[-1][1], ages(editions))
        lines = some_lines(draw, draw.randrange(5))
        code = draw.choice(sorted(catalogue.purposes))
        fields = draw.sample(sorted(FIELDS), draw.randint(1, 4))
        question = question_of(catalogue, code, fields)
        made = load(dump(in_force(lines)))
        expected = model(editions, lines, code)
        case = (code, fields, made, [(at, one.purposes) for at, one in editions])
        assert allowed(question, made) == expected, case
        told = left_out(question, made)
        assert told == model_left_out(expected, question.channel, fields), case
        seen["everything" if len(expected) == len(CHANNELS) else "something" if expected else "nothing"] += 1
        seen["some fields"] += bool(told)
    assert min(seen.values()) > SHORT / 40, seen


def test_what_is_in_force_does_not_depend_on_the_order_in_which_choices_arrive():
    draw = random.Random(7)
    for _ in range(300):
        lines = some_lines(draw, 4)
        catalogue = aged(parse_catalogue(HEAD + edition(draw)))
        found = set()
        for order in permutations(lines):
            made = in_force(order)
            answers = [sorted(allowed(question_of(catalogue, code, ["name"]), made)) for code in catalogue.purposes]
            found.add(repr(answers))
        assert len(found) == 1


def test_what_is_in_force_told_as_lines_is_in_force_again():
    draw = random.Random(8)
    for _ in range(2_000):
        lines = some_lines(draw, 5)
        made = in_force(lines)
        told = deciding(lines, made)
        again = [
            Line(line.entry, ChoiceMade(line.choice.purpose, line.choice.state, told[line.entry]), "s", "", "1",
                 line.chosen_at, line.recorded_at)
            for line in lines
            if line.entry in told
        ]  # fmt: skip
        draw.shuffle(again)
        assert in_force(again) == made


def test_who_has_chosen_nothing_is_asked_by_third_parties_alone():
    catalogue = parse_catalogue(HEAD + edition(random.Random(1)))
    for code, purpose in catalogue.purposes.items():
        told = left_out(question_of(catalogue, code, ["email", "name"]), {})
        assert told == (NO_FIELDS if purpose.kind == "secondary_own" else None)
