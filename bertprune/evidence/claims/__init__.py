"""The paper's claims C1 to C14: what decides each stands in the module of its name below."""

from bertprune.evidence.claims.ranges import fitted_and_lost, high_range, low_range, middle_range
from bertprune.evidence.claims.straight_lines import fall_along_lines
from bertprune.evidence.claims.ways_of_pruning import (
    after_finetuning,
    at_random,
    longer_before_pruning,
)
from bertprune.evidence.claims.weights import features, heads, masks, memory, movement, near_normal

ON_ACCURACY = (
    low_range,
    middle_range,
    high_range,
    fitted_and_lost,
    fall_along_lines,
    after_finetuning,
    longer_before_pruning,
    at_random,
)
"""Those whose test reads accuracies."""

ON_WEIGHTS = (features, masks, movement, heads, near_normal, memory)

CLAIMS = tuple(sorted((*ON_ACCURACY, *ON_WEIGHTS), key=lambda claim: int(claim.key[1:])))
"""What the paper claims, in our words, from C1 to C14.

Each rule is made from its claim: the docstring of its test says what the authors would take as
bearing it out, and what as refuting it. Margins come from the claims and from the paper's own
tables, as the text beside each constant says. They were set on 2026-11-30, before the studies were
executed that they are for; `book/history.md` has their history. A verdict is computed, never typed.
"""

BY_KEY = {claim.key: claim for claim in CLAIMS}
