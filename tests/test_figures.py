"""Figures: what they say, and that they need nothing from outside."""

import re
from typing import Any
from xml.etree import ElementTree

import pytest

from bertprune import figures, results, rows, tables
from bertprune.contracts import BurnIn, Finetune
from bertprune.rows import Rows

MAKER = "study tiny & small"


def made_up(arms: tuple[str, ...] = tuple(tables.ARM_NAMES), seeds: int = 2) -> Rows:
    parts = []
    for arm in arms:
        for sparsity in (0.0, 0.5):
            for seed in range(seeds):
                point: dict[str, Any] = {"arm": arm, "sparsity": sparsity, "seed": seed}
                point["learning_rate"] = 1e-3
                curve = [
                    {"step": step, "split": split, "metric": metric, "value": value - step / 100}
                    for step in (10, 20)
                    for split, metric, value in (
                        ("train", "running_loss", 2.0),
                        ("dev", "loss", 2.5),
                        ("dev", "masked_accuracy", 0.4),
                        ("dev", "accuracy", 0.9),
                    )
                ]
                if arm == "prune_pretrain":
                    bits: list[dict[str, Any]] = [
                        {"step": 20, "split": "probe", "metric": f"{sort}_bits", "value": bits}
                        for sort, bits in {"facts": 90.0, "kinds": 9.0, "all": 99.0}.items()
                    ]
                    parts.append(rows.of_pretraining([*curve[:-1], *bits], **point))
                parts.append(rows.of_history(curve, task="sst2", **point))
                parts.append(rows.of_history(curve, task="cola", **point))
    return rows.join(parts)


def study_figure(found: Rows) -> figures.Picture:
    maker = figures.made_by(MAKER, Finetune())
    return figures.accuracy_and_loss(
        results.scores(found), results.pretraining_losses(found), maker
    )


def run_figure(found: Rows) -> figures.Picture:
    maker = figures.made_by(MAKER, BurnIn())
    return figures.learning_curves(found, maker, ramp_steps=15)


def bits_figure(found: Rows) -> figures.Picture:
    content = {"facts": 100.0, "kinds": 10.0}
    return figures.bits_recalled(results.bits(found), content, figures.made_by(MAKER, BurnIn()))


def scatter_figure(found: Rows) -> figures.Picture:
    scores = results.scores(found)
    points = results.with_bits(
        scores.assign(panel=scores.task, value=scores.accuracy), results.bits(found)
    )
    maker = figures.made_by(MAKER, BurnIn())
    return figures.bits_against(points, maker, what="Accuracy", caption="Accuracy against bits.")


@pytest.fixture(scope="module", params=[study_figure, run_figure, bits_figure, scatter_figure])
def picture(request: pytest.FixtureRequest) -> figures.Picture:
    drawn = request.param(made_up())
    assert isinstance(drawn, figures.Picture)
    return drawn


def test_a_figure_says_on_itself_who_made_it(picture: figures.Picture) -> None:
    for svg in (picture.svg, picture.narrow_svg):
        assert "Made by study tiny" in svg
    assert MAKER in picture.alt


def test_a_figure_is_whole_in_itself(picture: figures.Picture) -> None:
    page = picture._repr_html_()
    page = re.sub(r"(<(?:img|source) [^>]*)>", r"\1/>", page)
    image = ElementTree.fromstring(page).find("picture/img")
    assert image is not None
    assert image.get("alt") == picture.alt
    assert (image.get("src") or "").startswith("data:image/svg+xml;base64,")
    for svg in (picture.svg, picture.narrow_svg):
        for element in ElementTree.fromstring(svg).iter():
            for name, value in element.attrib.items():
                assert not name.endswith("href") or value.startswith("#")


def test_the_same_rows_give_the_same_bytes() -> None:
    assert study_figure(made_up()) == study_figure(made_up())


def test_arms_are_told_apart_by_colour_and_by_marker() -> None:
    looks = [(figures._ARM_COLOURS[arm], figures._MARKERS[arm]) for arm in tables.ARM_NAMES]
    for column in zip(*looks, strict=True):
        assert len(set(column)) == len(tables.ARM_NAMES)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("arms", [("prune_pretrain",), ("information_deletion",)])
def test_a_part_of_a_study_can_be_drawn(arms: tuple[str, ...], seeds: int) -> None:
    picture = study_figure(made_up(arms, seeds))
    assert tables.ARM_NAMES[arms[0]] in picture.alt
    assert "pruned at random" not in picture.alt


def test_scale_is_part_of_the_line() -> None:
    small = figures.made_by("run a", BurnIn(layers=3, hidden_size=12, text=("/some/where/x.txt",)))
    assert "3 × 12" in small
    assert "x.txt" in small and "/some" not in small
    named = figures.made_by("run a", Finetune(model="google-bert/bert-base-uncased"))
    assert "bert-base-uncased" in named
