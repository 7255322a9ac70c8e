"""The sentences of the lab language, written a second time, to read what they say."""

import re

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
