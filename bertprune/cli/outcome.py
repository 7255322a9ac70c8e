"""The commands about what a study gives: `results`, `ledger`, `power` and `book`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from bertprune.base.errors import UserError
from bertprune.base.machine import usable_cores
from bertprune.cli.arguments import CSV, LIVE, about_study, write_csv
from bertprune.experiments.studies import Study


@click.command()
@about_study
@CSV
@click.option("--publish", is_flag=True, help="Write the final rows to book/published.")
def results(study: Study, file: Path | None, publish: bool) -> None:
    """Print the results of a study, or write its rows."""
    from bertprune.book.pages import tables
    from bertprune.evidence import gathering, scores
    from bertprune.evidence.published import publishing

    if publish:
        print(publishing.publish(study))
        return
    found = gathering.rows_of(study)
    if file:
        write_csv(found, file, "rows")
    else:
        print(gathering.provenance(study, found), end="\n\n")
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
        measured, source = ledger.of_paper(), "The paper's own numbers."
    else:
        found = gathering.rows_of(study)
        measured, source = ledger.measured(study, found), gathering.provenance(study, found)
    entries = ledger.ledger(measured)
    if file:
        write_csv(ledger.table(entries), file, "claims")
    else:
        print(f"{source}\n\n{ledger.text(entries)}")


@click.command()
@click.argument("claims", nargs=-1, metavar="[CLAIM]...")
@click.option(
    "--workers", type=click.IntRange(1), default=usable_cores, help="(default: all cores)"
)
@click.option(
    "--replicates", type=click.IntRange(1), default=1000, show_default=True, help="Of each truth."
)
@CSV
@click.option(
    "--publish", is_flag=True, help="Write them to book/published, for the ledger's page."
)
def power(
    claims: Sequence[str], workers: int, replicates: int, file: Path | None, publish: bool
) -> None:
    """Say how often the rules are right where the truth is known: simulated, with the noise of the
    published studies; by default the rules of all CLAIMs (C1, ...) that chance has a part in. It
    takes some half an hour on two cores."""
    from bertprune.evidence.power import published_rates, rates
    from bertprune.experiments.sweep.local import local_workers

    known = list(dict.fromkeys(each.claim for each in rates.QUESTIONS))
    if unknown := [key for key in claims if key not in known]:
        raise UserError(f"nothing is simulated for {unknown[0]}: valid: {', '.join(known)}")
    if publish and claims:
        raise UserError("--publish takes the rates of all claims: name none")
    with local_workers(workers) as executor:
        try:
            found = rates.measure(executor, claims or known, replicates)
        except KeyboardInterrupt:
            executor.shutdown(cancel_futures=True)
            raise
    if publish:
        print(published_rates.publish(found))
    elif file:
        write_csv(found, file, "lines")
    else:
        print(published_rates.readable(found).to_string(index=False))


@click.command()
@about_study
@LIVE
@click.option(
    "--so-far", is_flag=True, help="Only what is done: what a sweep has still to do is left out."
)
@click.option(
    "--also-as",
    type=click.Choice(["epub", "pdf"]),
    help="Also the chapters in one file; Chromium prints the PDF.",
)
def book(study: Study, live: bool, so_far: bool, also_as: str | None) -> None:
    """Build the book from the executed notebooks of a study."""
    from bertprune.book import build
    from bertprune.book.site import ebook

    if also_as == "pdf":
        ebook.browser()
    print(build.build(study, live=live, so_far=so_far))
    if also_as:
        print(ebook.pdf(study.name) if also_as == "pdf" else ebook.epub(study.name))
