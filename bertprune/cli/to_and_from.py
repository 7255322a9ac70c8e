"""The commands that bring runs here and take runs and models away: `import`, `export`, `ship`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from bertprune.base import paths
from bertprune.cli.arguments import DRY_RUN, about_study, file_to_write
from bertprune.experiments.studies import Study


@click.command(name="import")
@click.argument("sources", nargs=-1, required=True, metavar="FOLDER_OR_ARCHIVE...")
@DRY_RUN
def import_(sources: Sequence[str], dry_run: bool) -> int:
    """Take over runs made elsewhere, with their records: of another project or its runs/, or a
    .tar.gz of it."""
    from bertprune.experiments import archive

    found = [
        one
        for source in sources
        for one in archive.import_runs(paths.expanded(source), dry_run=dry_run)
    ]
    print(archive.summary(found, dry_run=dry_run))
    return 1 if any(one.what == archive.REFUSED for one in found) else 0


@click.command()
@about_study
@click.argument("file", type=file_to_write, metavar="FILE.tar.gz")
@click.option("--without-models", is_flag=True, help="Leave out what later runs start from.")
def export(study: Study, file: Path, without_models: bool) -> None:
    """Pack the runs of a study that are done, for `import`."""
    from bertprune.experiments import archive

    count = archive.export(study, file, with_models=not without_models)
    print(f"{count} of {len(study.plan())} runs of {study.name} in {file}")


@click.command()
@click.argument("model", metavar="RUN_OR_MODEL_FOLDER")
@click.argument("destination")
@click.option(
    "--dense",
    "storage",
    flag_value="dense",
    help="With its zeros, as an ordinary Hugging Face folder, and its masks beside it.",
)
@click.option("--onnx", "storage", flag_value="onnx", help="As an ONNX file, in float32.")
@click.option(
    "--precision",
    type=click.Choice(["bf16", "float32"]),
    help="(default: bf16, with --onnx float32)",
)
def ship(model: str, destination: str, storage: str | None, precision: str | None) -> None:
    """Write a model, of a run as prune_pretrain/0.60-seed0-... or in a folder, as a folder of its
    own that is not there yet, without its zeros, with a model card."""
    from bertprune.book.pages import model_card

    place = paths.expanded(destination)
    print(model_card.ship(model, place, storage=storage or "sparse", precision=precision))
