"""What was found by the text and by the scripts, side by side."""

import pandas as pd
import pytest

from bertprune.base.words import percent
from bertprune.book.pages import as_run
from bertprune.evidence.claims import ledger
from bertprune.evidence.claims.measured import Measured
from bertprune.experiments import studies
from bertprune.protocol import rows
from bertprune.protocol.arms import PRUNE_PRETRAIN
from bertprune.protocol.notebook_parameters import PruneAfterFinetune, PrunePretrain
from bertprune.protocol.rows import Rows
from bertprune.protocol.views import CHAPTERS

STUDIES = CHAPTERS["as_run"].beside
CONTROL, *ONE_THING, ALL = STUDIES


def _curves(late: float) -> Rows:
    """Two seeds that come down from 5 to 2 nats, of which `late` in the last 30 % of the steps."""
    losses = {100: 5.0, 700: 2.0 + late, 1000: 2.0}
    return rows.join(
        rows.of_history(
            [
                {"step": step, "split": "dev", "metric": "loss", "value": v}
                for step, v in losses.items()
            ],
            arm=PRUNE_PRETRAIN,
            sparsity=0.7,
            learning_rate=1e-3,
            seed=seed,
        )
        for seed in (0, 1)
    )


def test_what_comes_down_at_the_end_is_in_brackets() -> None:
    shown = as_run.levelling({CONTROL: _curves(0.25), ALL: _curves(0.0)})
    table = shown.table
    assert list(table[percent(0.7)]) == ["2.000 (-0.250)", "2.000 (-0.000)"]
    assert list(table.index) == [studies.load(name).title for name in (CONTROL, ALL)]


def test_verdicts_and_numbers_are_of_the_claims_that_may_change() -> None:
    ledgers = {
        name: ledger.ledger(Measured.of(_curves(0.1), pd.DataFrame())) for name in STUDIES[:2]
    }
    table = as_run.verdicts(ledgers).table
    assert tuple(table.columns) == as_run.CLAIMS and len(table) == 2
    by_claim = as_run.numbers(ledgers).table
    assert len(by_claim) == 2 * len(as_run.CLAIMS)


@pytest.mark.parametrize("name", ONE_THING)
def test_each_does_one_thing_of_all_and_the_rest_as_the_control(name: str) -> None:
    control, one, every = (studies.load(study) for study in (CONTROL, name, ALL))
    changed = 0
    for arm in control.arms:
        for ours, theirs, all_of_it in zip(
            *(s.runs_of(arm) for s in (control, one, every)), strict=True
        ):
            for field, value in vars(theirs.parameters).items():
                if value != getattr(ours.parameters, field):
                    changed += 1
                    assert value == getattr(all_of_it.parameters, field), (arm, field)
    assert changed
    # The control is a part of the lab.
    assert {*control.plan()} <= {*studies.load("lab").plan()}
    assert any(run in control.plan() for run in one.plan()) or "optimizer" in one.parameters


def test_their_calls_end_where_the_training_does() -> None:
    every = studies.load(ALL)
    for arm in every.arms:
        for run in every.runs_of(arm):
            p = run.parameters
            assert isinstance(p, PrunePretrain)
            ends = p.pretrain_decay_ends_steps
            assert (
                len(ends) == 19 and ends[-1] == studies.load(CONTROL).parameters["pretrain_steps"]
            )
            if isinstance(p, PruneAfterFinetune):
                assert p.recovery_decay_ends_epochs[-1] == p.epochs + p.recovery_epochs
                assert p.recovery_begins_epoch == p.epochs
