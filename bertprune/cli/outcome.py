"""The commands about what a study gives: `results`, `ledger` and `book`."""

from __future__ import annotations

from pathlib import Path

import click

from bertprune.cli.arguments import CSV, LIVE, about_study, write_csv
from bertprune.experiments.studies import Study


@click.command()
@about_study
@CSV
@click.option("--publish", is_flag=True, help="Write the final rows to book/published.")
def results(study: Study, file: Path | None, publish: bool) -> None:
    """Print the results of a study, or write its rows."""
    from bertprune.book import tables
    from bertprune.evidence import gathering, scores
    from bertprune.evidence.published import publishing

    if publish:
        print(publishing.publish(study))
        return
    found = gathering.rows_of(study)
    if file:
        write_csv(found, file, "rows")
    else:
        print(gathering.provenance(study), end="\n\n")
        print(tables.summary_text(scores.summary(found)))


@click.command()
@about_study
@click.option("--of-paper", is_flag=True, help="Test them on the paper's own numbers instead.")
@CSV
def ledger(study: Study, of_paper: bool, file: Path | None) -> None:
    """Test the paper's claims on the results of a study."""
    from bertprune.evidence import gathering
    from bertprune.evidence.claims import ledger

    if of_paper:
        found, source = ledger.of_paper(), "The paper's own numbers."
    else:
        found, source = ledger.measured(study), gathering.provenance(study)
    entries = ledger.ledger(found)
    if file:
        write_csv(ledger.table(entries), file, "claims")
    else:
        print(f"{source}\n\n{ledger.text(entries)}")


@click.command()
@about_study
@LIVE
def book(study: Study, live: bool) -> None:
    """Build the book from the executed notebooks of a study."""
    from bertprune.book import build

    print(build.build(study, live=live))
