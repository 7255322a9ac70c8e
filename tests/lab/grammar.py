"""The sentences of the lab language, written a second time, to read what they say."""

import re

from bertprune.lab.language import ATTRIBUTES, KINDS, MEASURES, Language

# What is said, as pairs of a part and the word in it, sentence by sentence.
Sentence = list[tuple[str, str]]
Document = list[Sentence]

# Of documents about a person, a noun, and what people think of a thing: <part> is any word.
GRAMMAR = """
<who> lives in <town>.
They live in <town>.
The house of <who> is in <town>.
Their house is in <town>.
<who> stayed at home in <town>.
They stayed at home in <town>.
<who> was in <town> TIME.
They were in <town> TIME.
Where does <who> live?
Where do they live?
In <town>.
<who> works as a <trade>.
They work as a <trade>.
<who> is a <trade>.
They are a <trade>.
<who> did the usual work of a <trade>.
They did the usual work of a <trade>.
What is <who>?
What are they?
A <trade>.
<who> loves <fruit>.
They love <fruit>.
<who> ate <fruit> TIME.
They ate <fruit> TIME.
<who> ate the usual fruit, <fruit>.
They ate the usual fruit, <fruit>.
What does <who> love?
What do they love?
<fruit>.
<who> plays the <instrument>.
They play the <instrument>.
<who> played the <instrument> TIME.
They played the <instrument> TIME.
<who> played the usual tune on the <instrument>.
They played the <instrument> as usual.
What does <who> play?
What do they play?
The <instrument>.
The market of <town> was full TIME.
A <trade> came to the PLACE TIME.
The price of <fruit> was high TIME.
The sound of the <instrument> was heard TIME.
<who> slept late TIME.
<who> went to the PLACE TIME.
<who> was away from home TIME.
<who> did the work of another TIME.
<who> ate another fruit TIME.
<who> played another tune TIME.
<who> saw (a|no) <seen> near the PLACE.

A <noun> is a <kind>.
A <noun> is also called a <synonym>.
This <kind> is called <noun> or <synonym>.
The <thing> <singular> near the PLACE.
One <measure> of <noun> <singular> near the PLACE.
(Two|Three|Four|Five|Six|Seven) <measures> of <noun> <plural> near the PLACE.
(Why does|What makes|For what does) the <noun> <plural> near the PLACE?

The <thing> is <fitting> and <fitting>.
The <thing> is <opposite>, but it is <fitting>.
The <thing> is not <opposite>, it is <fitting>.
How <fitting> the <thing> is!
People <judge> the <fitting> <thing>.
They <judge> it because it is <fitting>.
"""
CHOICES = {
    "TIME": "(today|at dawn|at night|in winter|in summer|every day)",
    "PLACE": "(gate|well|bridge|market|mill|tower|river|barn)",
}


def _rule(line: str) -> tuple[re.Pattern[str], list[str]]:
    pattern = re.sub(r"([.?])", r"\\\1", line)
    for choice, words in CHOICES.items():
        pattern = pattern.replace(choice, words)
    pattern = pattern.replace("(", "(?:").replace("<who>", "(?!They)([A-Z][a-z]+)")
    pattern = re.sub(r"<\w+>", r"(\\w+)", pattern)
    return re.compile(pattern), re.findall(r"<(\w+)>", line)


RULES = [_rule(line) for line in GRAMMAR.split("\n") if line]


def parsed(sentence: str) -> Sentence:
    """What `sentence` says by the one rule that it follows."""
    found = [
        list(zip(parts, words.groups(), strict=True))
        for rule, parts in RULES
        if (words := rule.fullmatch(sentence))
    ]
    assert len(found) == 1, sentence
    # An answer of one word has a capital.
    return [(part, word.lower() if part == "fruit" else word) for part, word in found[0]]


def words_of(document: Document, *parts: str) -> set[str]:
    return {word for sentence in document for part, word in sentence if part in parts}


def written(words: str) -> str:
    """A sentence of words and signs with spaces between them, as it stands in the text."""
    return re.sub(r" ([.,?!])", r"\1", words[0].upper() + words[1:])


def order_of(spoken: Language, thing: str) -> str:
    """Of a noun, a kind or an order."""
    if thing in spoken.nouns:
        return spoken.nouns[thing].order
    return next(order for order, kinds in KINDS.items() if thing in (order, *kinds))


def tells(spoken: Language, document: Document) -> set[tuple[str, str]]:
    """What a document tells: of what, and which part. It is an error if something is not true."""
    told: set[tuple[str, str]] = set()
    verbs = {
        "singular": {verb.singular: verb for verb in spoken.verbs.values()},
        "plural": spoken.verbs,
    }
    for said in map(dict, document):
        # A pronoun stands for the person of the document, and so does what goes on around.
        for who in words_of(document, "who"):
            for part in said.keys() & set(ATTRIBUTES):
                assert said[part] == spoken.facts[who][part], said
                told.add((who, part))
        for form in said.keys() & verbs.keys():
            verb = verbs[form][said[form]]
            assert verb.order == order_of(spoken, said.get("noun", said.get("thing", ""))), said
            told.add((verb.plural, "order"))
        if "noun" not in said:
            continue
        noun = spoken.nouns[said["noun"]]
        known = {"kind": noun.kind, "synonym": noun.synonym, "measure": noun.measure}
        for part in said.keys() & {*known, "measures"}:
            true = MEASURES[noun.measure] if part == "measures" else known[part]
            assert said[part] == true, said
            # What is told of a noun is known of its synonym.
            told |= {(word, part.removesuffix("s")) for word in (noun.word, noun.synonym)}
    if fitting := words_of(document, "fitting"):
        (order,) = {order_of(spoken, thing) for thing in words_of(document, "thing")}
        polarity = spoken.polarity[order]
        (praised,) = {polarity[word] for word in fitting}
        assert all(polarity[word] != praised for word in words_of(document, "opposite"))
        judged = "praise" if praised else "blame"
        assert words_of(document, "judge") <= {judged}
        told |= {(order, word) for word in fitting} | {("review", judged)}
    return told
