"""What pictures are: whole in themselves, with words, data and downloads."""

import base64
import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bertprune.base import fingerprint
from bertprune.base.errors import UserError
from bertprune.book.figures import picture, style
from bertprune.protocol.arms import ARMS, Look
from bertprune.protocol.notebook_parameters import BurnIn, Finetune


def drawn(again: str = "", *, is_quick: bool = False) -> picture.Picture:
    points = pd.DataFrame({"sparsity": [0.0, 0.5], "seed": [0, 0], "value": [1 / 3, 0.25]})

    def draw(axes: Axes, panel: picture.Panel) -> None:
        style.curve(axes, panel.points, Look("#000000", "o"))

    panels = [picture.Panel("panel", points, draw)]
    sketch = picture.Sketch("a-figure", panels, alt="Words.", caption="A & B.", is_quick=is_quick)
    return sketch.drawn("Made by a < b", again)


def parsed(picture: picture.Picture) -> ElementTree.Element:
    page = re.sub(r"(<(?:img|source) [^>]*)>", r"\1/>", picture._repr_html_())
    return ElementTree.fromstring(page)


def downloads(picture: picture.Picture) -> dict[str, bytes]:
    """What the links of a picture give, by file name."""
    found = {}
    for link in parsed(picture).iter("a"):
        if name := link.get("download"):
            kind, _, content = (link.get("href") or "").partition(";base64,")
            assert kind.startswith("data:")
            found[name] = base64.b64decode(content)
    return found


def test_downloads_are_in_the_page() -> None:
    picture = drawn()
    files = downloads(picture)
    assert list(files) == ["a-figure.csv", "a-figure.svg", "a-figure.png"]
    assert files["a-figure.svg"].decode() == picture.svg
    assert files["a-figure.png"].startswith(b"\x89PNG")
    assert files["a-figure.csv"].decode() == (
        "panel,source,sparsity,seed,value\npanel,study,0,0,0.333333\npanel,study,0.5,0,0.25\n"
    )


def test_a_quick_picture_has_only_its_data_to_take_along() -> None:
    assert set(downloads(drawn(is_quick=True))) == {"a-figure.csv"}


def test_a_picture_of_a_study_says_how_to_make_it_again() -> None:
    page = parsed(drawn(again="bertprune run results -p study 'a & b'"))
    assert page.findtext(".//code") == "bertprune run results -p study 'a & b'"
    assert [link.get("href") for link in page.iter("a") if not link.get("download")] == [
        "records.html"
    ]
    assert "Again" not in drawn()._repr_html_()


def test_arms_tasks_and_kinds_are_told_apart_by_colour_and_by_marker() -> None:
    for looks in (
        {name: arm.look for name, arm in ARMS.items()},
        style.task_looks(["mnli", "cola", "other", "sst2"]),
    ):
        for column in zip(*looks.values(), strict=True):
            assert len(set(column)) == len(looks)


def test_a_task_looks_the_same_in_every_figure() -> None:
    looks = [style.task_looks([*others, "cola"])["cola"] for others in (["another"], ["sst2"])]
    assert looks[0] == looks[1]
    assert list(style.task_looks(["cola", "mnli"])) == ["mnli", "cola"]


def test_scale_is_part_of_the_line() -> None:
    small = picture.made_by("run a", BurnIn(layers=3, hidden_size=12, text=("/some/where/x.txt",)))
    assert "3 × 12" in small
    assert "x.txt" in small and "/some" not in small
    named = picture.made_by("run a", Finetune(model="google-bert/bert-base-uncased"))
    assert "bert-base-uncased" in named


def test_a_curve_is_the_mean_with_a_band_of_one_standard_deviation() -> None:
    points = pd.DataFrame(
        {"sparsity": [0.0, 0.0, 0.5], "seed": [0, 1, 0], "value": [1.0, 3.0, 5.0]}
    )
    axes = Figure().subplots()
    style.curve(axes, points, Look("#000000", "o"))
    x, y = (np.asarray(of, dtype=float).tolist() for of in axes.lines[0].get_data())
    assert (x, y) == ([0.0, 0.5], [2.0, 5.0])
    band, seeds = axes.collections
    assert len(np.asarray(seeds.get_offsets())) == len(points)
    edges = np.asarray(band.get_paths()[0].vertices)
    heights = edges[edges[:, 0] == 0, 1]
    assert (heights.min(), heights.max()) == pytest.approx((2 - 2**0.5, 2 + 2**0.5))


def seeds_of(arms: dict[str, list[int]]) -> pd.DataFrame:
    """Points of `arms` at a sparsity each, with so many seeds."""
    return pd.DataFrame(
        {"arm": arm, "sparsity": 0.1 * place, "seed": seed, "value": 1.0}
        for arm, counts in arms.items()
        for place, count in enumerate(counts)
        for seed in range(count)
    )


@pytest.mark.parametrize(
    ("arms", "said"),
    [
        (
            {"prune_pretrain": [1, 1], "random_pruning": [1]},
            "All is of one seed, so there are no bands.",
        ),
        (
            {"prune_pretrain": [3, 3], "random_pruning": [3]},
            "Points are the 3 seeds, lines their means, bands ± one standard deviation.",
        ),
        (
            {"from_scratch": [1], "prune_pretrain": [3, 3], "random_pruning": [1, 2, 1]},
            "Points are seeds, lines their means, bands ± one standard deviation where there are "
            "several; seeds: pruned while pre-training 3, pruned at random 1 to 2, never "
            "pre-trained 1.",
        ),
        ({}, ""),
    ],
)
def test_captions_say_how_many_seeds_are_drawn(arms: dict[str, list[int]], said: str) -> None:
    drawn = [seeds_of({arm: counts}) for arm, counts in arms.items()]
    assert style.seeds_in_words(drawn) == said


def test_captions_of_what_has_no_bands() -> None:
    one, three = ([seeds_of({"sst2": [count]}).rename(columns={"arm": "task"})] for count in (1, 3))
    assert style.seeds_in_words(one, "task", spread="") == "All is of one seed."
    three_said = style.seeds_in_words(three, "task", lead="The mean over {seeds}", spread="")
    assert three_said == "The mean over the 3 seeds."
    both = style.seeds_in_words([*three, one[0].assign(task="cola")], "task", spread="")
    assert both == "Points are seeds, lines their means; seeds: sst2 3, cola 1."


def test_what_is_missing_is_said_with_the_runs_that_give_it() -> None:
    with pytest.raises(UserError, match="no figure of heads.*runs of prune_pretrain"):
        picture.needed(pd.DataFrame(), "heads", "runs of prune_pretrain")


def test_the_page_of_a_run_does_not_depend_on_the_figures_of_studies() -> None:
    waiting, reached = ["bertprune.book.figures.training_curves"], set[str]()
    while waiting:
        module = waiting.pop()
        file = fingerprint._module_file(module)
        if file is not None and module not in reached:
            reached.add(module)
            waiting += fingerprint._read_module(file, file.stat().st_mtime_ns)[0]
    ours = {module for module in reached if module.startswith("bertprune.book.figures")}
    assert ours == {
        f"bertprune.book.figures.{name}" for name in ("training_curves", "picture", "style")
    }
    assert "bertprune.evidence.gathering" not in reached
