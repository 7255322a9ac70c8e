"""What pictures are: whole in themselves, with words, data and downloads."""

import base64
import re
from collections.abc import Callable
from itertools import pairwise
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from bertprune.base import fingerprint
from bertprune.base.errors import UserError
from bertprune.book.drawing import panel, picture, style
from bertprune.protocol.arms import ARMS, BY_SPARSITY, Look
from bertprune.protocol.notebook_parameters import BurnIn, Finetune


def drawn(
    command: Callable[[str], str] | None = None, *, is_quick: bool = False
) -> picture.Picture:
    points = pd.DataFrame({"sparsity": [0.0, 0.5], "seed": [0, 0], "value": [1 / 3, 0.25]})

    def draw(axes: Axes, of: panel.Panel) -> None:
        style.curve(axes, of.points, Look("#000000", "o"))

    panels = [panel.Panel("panel", points, draw)]
    sketch = picture.Sketch("a-figure", panels, alt="Words.", caption="A & B.", is_quick=is_quick)
    return sketch.drawn("Made by a < b", command)


def parsed(picture: picture.Picture) -> ElementTree.Element:
    return ElementTree.fromstring(picture._repr_html_())


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


def test_a_quick_picture_has_no_png() -> None:
    assert set(downloads(drawn(is_quick=True))) == {"a-figure.csv", "a-figure.svg"}


def test_a_picture_of_a_study_says_how_to_add_a_point() -> None:
    page = parsed(drawn(lambda what: f"bertprune run {what} -p text 'a & b'"))
    assert page.findtext("div[@class='highlight']/pre") == "bertprune run finetune -p text 'a & b'"
    assert "point of your own" not in drawn()._repr_html_()


def test_without_a_point_to_add_there_is_no_command() -> None:
    panels = drawn().sketch.panels
    sketch = picture.Sketch("a", panels, alt="A.", caption="B.", is_quick=True, own_point="")
    assert not sketch.drawn("Made", lambda what: f"bertprune run {what}").own_command


@pytest.mark.parametrize("is_quick", [False, True])
def test_a_drawing_has_all_that_it_refers_to_and_each_style_once(*, is_quick: bool) -> None:
    one = drawn(is_quick=is_quick)
    for svg in (one.svg, one.narrow_svg):
        root = ElementTree.fromstring(svg)
        names = [name for element in root.iter() if (name := element.get("id"))]
        assert len(set(names)) == len(names)
        assert set(re.findall(r"#(m\w{10}|p\w{10})\b", svg)) == set(names)
        used = {name for element in root.iter() if (name := element.get("class"))}
        ruled = re.findall(r"\.(s\d+) {([^}]*)}", svg)
        assert {name for name, _ in ruled} == used and "style=" not in svg
        assert len({rule for _, rule in ruled}) == len(ruled)
        assert "panel" in root.itertext()


def test_the_numbers_are_in_a_table() -> None:
    page = parsed(drawn())
    assert page.findtext("details/table/caption") == "panel (study)"
    assert [cell.text for cell in page.iter("td")] == ["0.3333", "0.25"]


# What `filter: invert(1) hue-rotate(180deg)` makes of a colour, by the standard's matrix.
TURNED = np.array([[-0.574, 1.430, 0.144], [0.426, 0.430, 0.144], [0.426, 1.430, -0.856]])
WHITE, DARK = "#ffffff", "#14181e"


def contrast(one: np.ndarray, other: np.ndarray) -> float:
    """The ratio of two colours as the accessibility guidelines (WCAG 2) have it."""
    linear = [
        np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)
        for colour in (one, other)
    ]
    dark, light = sorted(float(of @ [0.2126, 0.7152, 0.0722]) for of in linear)
    return (light + 0.05) / (dark + 0.05)


def test_lines_stand_out_on_a_white_page_and_on_a_dark_one() -> None:
    shades = [look.colour for look in style.shades(np.linspace(0, 0.9, 10).tolist()).values()]
    arms = [arm.look.colour for arm in ARMS.values()]
    for colour in {*style.PALETTE, *shades, *arms, style.INK, style.QUIET}:
        rgb = np.array(to_rgb(colour))
        assert contrast(rgb, np.array(to_rgb(WHITE))) >= 3, colour
        assert contrast(np.clip(TURNED @ (1 - rgb), 0, 1), np.array(to_rgb(DARK))) >= 3, colour


def test_words_in_the_colour_of_a_line_can_be_read() -> None:
    arms = [arm.look.colour for arm in ARMS.values()]
    for colour in {*style.PALETTE, *arms, style.INK, style.QUIET}:
        rgb = np.array(to_rgb(style.of_words(colour)))
        assert contrast(rgb, np.array(to_rgb(WHITE))) >= 4.5, colour
        assert contrast(np.clip(TURNED @ (1 - rgb), 0, 1), np.array(to_rgb(DARK))) >= 4.5, colour


def test_lines_stand_out_on_the_shades_of_the_ranges() -> None:
    shade = np.array(to_rgb(style.INK)) * 0.05 + 0.95
    for arm in BY_SPARSITY:
        rgb = np.array(to_rgb(ARMS[arm].look.colour))
        assert contrast(rgb, shade) >= 3, arm


def test_studies_do_not_look_like_the_arms_beside_them() -> None:
    looks = style.study_looks(["paper", "english", "lab", "another"])
    assert list(looks) == ["paper", "english", "lab", "another"]
    colours = [look.colour for look in looks.values()]
    assert len(set(colours)) == 4
    assert not {*colours} & {ARMS[arm].look.colour for arm in BY_SPARSITY}


@pytest.mark.parametrize("width", [style.NARROW_INCHES, 5])
@pytest.mark.parametrize("ends", [[0.5] * 4, [0.0, 0.0, 0.9], [1.0, 1.0, 0.99], [0.2, 0.8]])
def test_names_beside_ends_do_not_overlap_and_stay_near(width: float, ends: list[float]) -> None:
    axes = Figure(figsize=(width, 3)).subplots()
    axes.set_ylim(0, 1)
    names = [f"a name of line {number}" for number in range(len(ends))]
    style.label_ends(axes, {n: (1.0, y, style.INK) for n, y in zip(names, ends, strict=True)})
    written = sorted(
        (text.xy[1], (1 + text.get_text().count("\n")) * style.SMALLEST_POINTS)
        for text in axes.texts
        if isinstance(text, Annotation)
    )
    points = 3 * 72 * axes.get_position().height
    edges = [(points * y - height / 2, points * y + height / 2) for y, height in written]
    for (_, top), (bottom, _) in pairwise(edges):
        assert top < bottom
    assert edges[0][0] >= 0 and edges[-1][1] <= points
    if ends == [0.2, 0.8]:
        assert [y for y, _ in written] == pytest.approx(ends)


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
    assert both == "Points are seeds, lines their means; seeds: SST-2 3, CoLA 1."


def test_what_is_missing_is_said_with_the_runs_that_give_it() -> None:
    with pytest.raises(UserError, match="no figure of heads.*runs of prune_pretrain"):
        panel.needed(pd.DataFrame(), "heads", "runs of prune_pretrain")


def test_the_page_of_a_run_does_not_depend_on_the_figures_of_studies() -> None:
    waiting, reached = ["bertprune.book.figures.training_curves"], set[str]()
    while waiting:
        module = waiting.pop()
        file = fingerprint._module_file(module)
        if file is not None and module not in reached:
            reached.add(module)
            waiting += fingerprint._read_module(file, file.stat().st_mtime_ns)[0]
    ours = {module for module in reached if module.startswith("bertprune.book.figures")}
    assert ours == {"bertprune.book.figures.training_curves"}
    assert "bertprune.evidence.gathering" not in reached
