"""All figures, of a study that has rows of every metric: what they say, and what they need."""

import functools
import inspect
import pkgutil
import re
import shlex
from collections.abc import Callable
from importlib import import_module
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from bertprune.base.errors import UserError
from bertprune.book import figures
from bertprune.book.drawing.picture import Picture, Sketch, made_by
from bertprune.book.drawing.style import task_title
from bertprune.book.figures import accuracy, differences, pruned_weights, weight_shapes
from bertprune.book.figures.accuracy import (
    accuracy_and_loss,
    accuracy_drop,
    average_and_loss,
    average_and_training_loss,
    drops_beside,
)
from bertprune.book.figures.information import accuracy_against_loss, feature_similarity
from bertprune.book.figures.pruned_weights import before_pruning, mask_difference, pruned_heads
from bertprune.book.figures.sort_order_movement import movement_by_epoch, movement_by_position
from bertprune.book.figures.training_curves import recovery_from_pruning
from bertprune.book.figures.weight_shapes import memory, pruned_embeddings, weight_histograms
from bertprune.evidence import paper, scores
from bertprune.evidence.answers import Answers
from bertprune.evidence.claims import straight_lines
from bertprune.evidence.claims.ledger import of_paper
from bertprune.evidence.claims.measured import Measured
from bertprune.experiments import studies
from bertprune.experiments.runs import Run
from bertprune.protocol import notebook_parameters, rows
from bertprune.protocol.arms import ARMS
from bertprune.protocol.notebook_parameters import Finetune
from bertprune.protocol.rows import Rows, where
from bertprune.protocol.views import parameters_of_run
from bertprune.pruning.matrices import KINDS

from .synthetic import DIMENSIONS, RATE, SEEDS, SPARSITIES, TASKS, study

MAKER = made_by("study tiny & small", Finetune())

Sketcher = Callable[..., Sketch]

FIGURES: list[Sketcher] = [
    function
    for module in pkgutil.iter_modules(figures.__path__, f"{figures.__name__}.")
    for name, function in inspect.getmembers(import_module(module.name), inspect.isfunction)
    if inspect.get_annotations(function).get("return") == "Sketch" and not name.startswith("_")
]
FIGURES = list(dict.fromkeys(FIGURES))


def _bits(found: Rows) -> pd.DataFrame:
    """Models with more loss recall less."""
    losses = where(found, task=rows.PRETRAINING, metric="loss")
    known = {"facts": 90.0, "kinds": 9.0, "all": 99.0}
    return scores.bits(
        rows.join(
            losses.assign(split="probe", metric=f"{sort}_bits", value=bits / losses.value)
            for sort, bits in known.items()
        )
    )


def _beside_bits(found: Rows) -> pd.DataFrame:
    scored = scores.scores(found)
    return scores.with_bits(scored.assign(panel=scored.task, value=scored.accuracy), _bits(found))


def _answers(found: Rows) -> dict[str, Answers | None]:
    """A tenth of the answers is wrong where nothing is pruned, and more where more is."""
    models = scores.best_accuracies(where(found, arm="prune_pretrain", task="sst2"))
    labels = np.zeros(100, np.uint16)
    predicted = np.stack([np.arange(100) < 10 + 50 * one for one in models.sparsity])
    told = models.assign(bert="a").reset_index(drop=True)
    return {"sst2": Answers("sst2", told, predicted.astype(np.uint16), labels, labels + 9)}


GIVEN: dict[str, Callable[[Rows], Any]] = {
    "found": lambda found: found,
    "paper": lambda _: paper.rows(),
    "measured": Measured.of,
    "beside": lambda _: of_paper(),
    "majorities": lambda _: accuracy.GLUE_MAJORITIES,
    "arm": lambda _: "information_deletion",
    "recalled": _bits,
    "labels": lambda _: {"sst2": pd.Series([0, 0, 1])},
    "scores": scores.scores,
    "losses": scores.pretraining_losses,
    "recovery": scores.recovery_curves,
    "fits": straight_lines.line_fits,
    "bits": _bits,
    "content": lambda _: {"facts": 100.0, "kinds": 10.0},
    "points": _beside_bits,
    "rows": lambda found: where(found, arm="prune_pretrain", sparsity=0.0, seed=0),
    "ramp_steps": lambda _: 15,
    "what": lambda _: "Dev accuracy of it",
    "caption": lambda _: "Accuracy.",
    "is_share": lambda _: True,
    "answers": _answers,
    "studies": lambda found: {"A study": found},
}
"""What figures ask for by the names of their parameters, of the rows of a study."""


def sketched(figure: Sketcher, found: Rows | None = None, **instead: Any) -> Sketch:
    """The figure of the rows `found`, or else of the whole study."""
    if found is None and not instead:
        return _of_study(figure)
    given = study() if found is None else found
    asked = inspect.signature(figure).parameters
    return figure(**{name: instead.get(name, GIVEN[name](given)) for name in asked})


@functools.cache
def _of_study(figure: Sketcher) -> Sketch:
    return sketched(figure, study())


@functools.cache
def drawn(figure: Sketcher) -> Picture:
    return sketched(figure).drawn(MAKER)


@pytest.fixture(params=FIGURES, ids=lambda figure: figure.__name__)
def picture(request: pytest.FixtureRequest) -> Picture:
    return drawn(request.param)


def data(figure: Sketcher, source: str = "study") -> pd.DataFrame:
    return where(sketched(figure).data, source=source)


def titles(sketch: Sketch) -> list[str]:
    return [panel.title for panel in sketch.panels]


def legend(sketch: Sketch) -> list[str]:
    return [str(entry.get_label()) for entry in sketch.handles]


def test_a_figure_says_on_itself_who_made_it(picture: Picture) -> None:
    for svg in (picture.svg, picture.narrow_svg):
        assert "Made by study tiny &amp; small" in svg
    assert "Made by study tiny &amp; small" in picture._repr_html_()


def test_what_a_given_model_was_trained_for_is_not_said_to_be_nothing() -> None:
    given = made_by("it", Finetune(model="models/given", burn_in_steps=0, pretrain_steps=500))
    assert "the pre-trained BERT given, 500 more steps" in given
    fresh = made_by("it", Finetune(burn_in_steps=40, pretrain_steps=500))
    assert "a fresh BERT of 2 × 64, 40 + 500 steps" in fresh


def test_a_figure_is_whole_in_itself(picture: Picture) -> None:
    image = ElementTree.fromstring(picture._repr_html_()).find("picture/img")
    assert image is not None
    assert image.get("alt") == picture.sketch.alt
    assert (image.get("src") or "").startswith("data:image/svg+xml;base64,")
    for svg in (picture.svg, picture.narrow_svg):
        for element in ElementTree.fromstring(svg).iter():
            for name, value in element.attrib.items():
                assert not name.endswith("href") or value.startswith(("#", "data:image/png"))


def test_words_for_those_who_do_not_see_it(picture: Picture) -> None:
    assert 40 < len(picture.sketch.alt) <= 300
    assert "nan" not in picture.sketch.alt
    tables = picture.sketch.numbers
    assert tables and all(re.search(r"\d", table.to_string()) for table in tables.values())
    assert not any("nan" in table.to_string() for table in tables.values())
    assert all(len(table.columns) <= 11 and len(table) <= 60 for table in tables.values())


def test_no_words_are_smaller_than_eleven_pixels_on_screen(picture: Picture) -> None:
    """A page shows them at least as wide as 630 and 290 pixels."""
    for svg, least_px in ((picture.svg, 630), (picture.narrow_svg, 290)):
        width = float((ElementTree.fromstring(svg).get("width") or "").removesuffix("pt"))
        sizes = [float(size) for size in re.findall(r"font-size: ([\d.]+)px", svg)]
        assert sizes and min(sizes) * least_px / width >= 11


def test_the_data_is_what_is_drawn(picture: Picture) -> None:
    assert re.fullmatch("[a-z-]+", picture.sketch.name)
    assert len(picture.sketch.data) and picture.sketch.data.value.notna().all()
    assert not picture.sketch.data.duplicated().any()
    for panel in picture.sketch.data.panel.unique():
        assert panel in ElementTree.tostring(
            ElementTree.fromstring(picture.svg), "unicode", method="text"
        )


_OF_SCORES = (".accuracy", ".flipped", ".differences", ".information", ".training_curves")


@pytest.mark.parametrize("figure", [accuracy_drop, pruned_embeddings])
def test_the_same_rows_give_the_same_bytes(figure: Sketcher) -> None:
    first, second = drawn(figure), sketched(figure, study()).drawn(MAKER)
    assert first == second
    assert first.csv == second.csv


@pytest.mark.parametrize(
    "figure",
    [figure for figure in FIGURES if not figure.__module__.endswith(_OF_SCORES)],
)
def test_rows_without_the_analysis_are_a_users_error(figure: Sketcher) -> None:
    analyses = ("weights", "embeddings", "heads", "features", "masks")
    found = study()
    found = found[~found.split.isin(analyses) & (found.arm != "epochs_before_pruning")]
    with pytest.raises(UserError, match="runs of"):
        sketched(figure, found)


@pytest.mark.parametrize("figure", FIGURES)
def test_captions_of_a_single_seed_promise_no_bands_over_seeds(figure: Sketcher) -> None:
    found = study()
    # The seed whose run has curves of its own.
    caption = sketched(figure, found[found.seed == 0]).caption
    for promise in ("are seeds", "the 3 seeds", "over seeds", "deviation over"):
        assert promise not in caption.replace("deviation over the weights", "")


@pytest.mark.parametrize("figure", [average_and_training_loss, accuracy_drop, drops_beside])
def test_captions_say_which_arms_have_several_seeds(figure: Sketcher) -> None:
    found = study()
    found = found[(found.arm == "prune_pretrain") | (found.seed == 0)]
    caption = sketched(figure, found).caption
    assert "pruned while pre-training 3, information deletion 1," in caption
    assert "the 3 seeds" in sketched(figure).caption


def test_captions_name_the_levels_and_whose_mean_they_are() -> None:
    found = study()
    whole = sketched(average_and_training_loss).caption
    assert whole.endswith("Dashed: dense, the mean over its seeds; dotted: never pre-trained.")
    fewer = found[(found.arm == "prune_pretrain") | (found.seed == 0)]
    mixed = sketched(average_and_training_loss, fewer).caption
    assert "the mean over its seeds, also beside arms that have fewer" in mixed
    # Drops are from the dense model of the same seed.
    assert "Dashed: dense; dotted" in sketched(accuracy_drop, fewer).caption
    alone = found[(found.seed == 0) & (found.arm != "from_scratch")]
    assert sketched(average_and_training_loss, alone).caption.endswith("Dashed: dense.")


def test_the_drop_as_a_share_of_skill_compares_with_the_papers() -> None:
    first = sketched(accuracy_drop).panels[0]
    second = sketched(accuracy_drop).panels[1]
    assert (first.title, second.title) == ("change of skill (%)", "in the paper (%)")
    assert second.source == "paper" and second.y == first.y
    scored = scores.scores(study())
    average = where(scored, task="average").set_index(["arm", "sparsity", "seed"]).accuracy
    majority = accuracy.GLUE_MAJORITIES[list(TASKS)].mean()
    dense = average["prune_pretrain", 0.0, 1]
    one = where(first.points, arm="random_pruning", sparsity=0.9, seed=1).value.item()
    lost = average["random_pruning", 0.9, 1] - dense
    assert one == pytest.approx(lost / (dense - majority))
    without = sketched(accuracy_drop, majorities=None)
    assert without.panels[0].title != first.title
    assert all(panel.source == "study" for panel in without.panels)


def test_the_dense_level_is_of_the_seeds_that_were_pruned(monkeypatch: pytest.MonkeyPatch) -> None:
    found = study()
    levels: list[float] = []
    monkeypatch.setattr(pruned_weights, "dashed", lambda _, level: levels.append(level))
    of_one = sketched(before_pruning, found[(found.arm == "prune_pretrain") | (found.seed == 2)])
    of_one.panels[0].fill(Figure().subplots())
    scored = scores.scores(found).set_index(["arm", "task", "sparsity", "seed"]).accuracy
    ours = [scored["prune_pretrain", task, 0.0, 2] for task in TASKS]
    assert levels[0] == pytest.approx(sum(ours) / len(ours))


@pytest.mark.parametrize("arm", ["prune_pretrain", "information_deletion"])
def test_a_part_of_a_study_can_be_drawn(arm: str) -> None:
    found = study()
    part = found[(found.arm == arm) | (found.task == rows.PRETRAINING)]
    sketch = sketched(accuracy_and_loss, part)
    assert ARMS[arm].words in legend(sketch)
    assert "pruned after fine-tuning" not in legend(sketch)


def test_one_task_is_its_own_average() -> None:
    found = where(study(), task=["sst2", rows.PRETRAINING])
    sketch = sketched(average_and_training_loss, found)
    assert titles(sketch) == ["average dev accuracy", "average training loss (nats)"]
    glance = sketched(average_and_loss, found)
    assert titles(glance) == ["SST-2: dev accuracy", "pre-training: dev loss (nats)"]


def test_averages_over_other_tasks_are_not_laid_over_each_other() -> None:
    found = study().replace({"task": {"mnli": "mrpc"}})
    majorities = pd.Series({"sst2": 0.5, "mrpc": 0.6})
    assert set(sketched(accuracy_drop, found, majorities=majorities).data.source) == {"study"}


def test_a_readers_own_task_leaves_the_averages() -> None:
    found = study().assign(own=False)
    own = found[(found.task == "sst2") & (found.sparsity == 0)].assign(task="cola", own=True)
    before, after = (
        sketched(average_and_training_loss, one).data for one in (found, pd.concat([found, own]))
    )
    pd.testing.assert_frame_equal(after, before)


def test_an_average_needs_all_tasks() -> None:
    found = study()
    gone = (found.arm == "prune_pretrain") & (found.sparsity == 0.3) & (found.task == "sst2")
    drawn = sketched(average_and_training_loss, found[~gone]).data
    ours = where(drawn, source="study", arm="prune_pretrain")
    assert set(ours.sparsity) == {0.0, 0.6, 0.9}


def test_drops_are_from_the_same_seeds_dense_model() -> None:
    drawn = data(accuracy_drop).query("panel.str.contains('points')")
    dense = where(drawn, arm="prune_pretrain", sparsity=0)
    assert (dense.value == 0).all()
    scored = scores.scores(study()).set_index(["arm", "task", "sparsity", "seed"]).accuracy
    one = where(drawn, task="mnli", arm="random_pruning", seed=2)
    dense_score = scored["prune_pretrain", "mnli", 0.0, 2]
    pruned = [scored["random_pruning", "mnli", at, 2] for at in SPARSITIES[1:]]
    expected = [100 * (score - dense_score) for score in pruned]
    assert one.sort_values("sparsity").value.tolist() == pytest.approx(expected)


def test_without_a_dense_model_there_is_no_drop() -> None:
    found = study()
    with pytest.raises(UserError, match="sparsity 0"):
        sketched(accuracy_drop, found[(found.sparsity > 0) | (found.arm != "prune_pretrain")])


def test_recovery_is_of_pruned_pretraining_with_its_ramp() -> None:
    sketch = sketched(recovery_from_pruning)
    assert set(sketch.data.step) == {50, 70, 100} and set(sketch.data.sparsity) == set(SPARSITIES)
    assert "shaded" in sketch.caption
    assert "shaded" not in sketched(recovery_from_pruning, ramp_steps=0).caption
    with pytest.raises(UserError, match="while models are pruned"):
        sketched(recovery_from_pruning, where(study(), step=100))


def test_slopes_are_in_the_titles() -> None:
    found = study()
    fit = straight_lines.line_fits(found).set_index("task")
    sketch = sketched(accuracy_against_loss)
    for task in TASKS:
        slope = f"−{100 * abs(fit.slope[task]):.1f}"
        assert any(title.startswith(f"{task_title(task)}: {slope} [") for title in titles(sketch))
        assert f"{task_title(task)} {slope}" in sketch.alt
    with pytest.raises(UserError, match="information_deletion"):
        sketched(accuracy_against_loss, where(found, arm="from_scratch"))


def test_a_task_of_too_few_points_has_no_slope() -> None:
    found = study()
    kept = (found.task != "sst2") | (found.sparsity < 0.5)
    seed = found.seed == 0
    sketch = sketched(accuracy_against_loss, found[kept & (seed | (found.task != "sst2"))])
    assert "SST-2" in titles(sketch)
    assert "nan" not in sketch.drawn(MAKER).svg + sketch.alt
    assert "MNLI −" in sketch.alt and "SST-2 " not in sketch.alt


def test_features_need_runs_that_compared_them() -> None:
    found = study()
    assert len(sketched(feature_similarity).data)
    with pytest.raises(UserError, match="prune_pretrain"):
        sketched(feature_similarity, found[found.split != "features"])


def test_a_gain_is_that_of_the_same_seed_with_its_bounds() -> None:
    sketch = sketched(differences.gain)
    scored = where(scores.scores(study()), task=list(TASKS))
    mean = scored.groupby(["arm", "sparsity", "seed"]).accuracy.mean()
    off, held = mean["information_deletion"], mean["prune_pretrain"]
    gains = 100 * (off[0.6] - off[0.0] - held[0.6] + held[0.0])
    point = where(sketch.panels[0].points, sparsity=0.6).iloc[0]
    assert point.value == pytest.approx(gains.mean())
    assert point.low < gains.mean() < point.high
    of_one = sketched(differences.gain, study()[study().seed == 0]).panels[0].points
    # Of one seed they are for other examples alone.
    assert (of_one.low < of_one.value).all()


def test_at_a_glance_each_arm_begins_at_nothing() -> None:
    changes = sketched(differences.regimes_at_a_glance).panels[0].points
    at_zero = where(changes, sparsity=0.0)
    assert len(at_zero) and (at_zero.value == 0).all()


def test_at_a_glance_a_language_comes_last_with_its_bits() -> None:
    losses = where(study(), task=rows.PRETRAINING, metric="loss")
    probed = losses.assign(split="probe", metric="all_bits", value=100 / losses.value)
    both = {"Language": rows.join([study(), probed]), "English": study()}
    sketch = sketched(differences.regimes_at_a_glance, studies=both)
    assert titles(sketch) == [
        "English: change in accuracy (points)",
        "Language: change in accuracy (points)",
        "Language: bits recalled",
    ]
    # Many studies have many words.
    many = {f"Study {number}": study() for number in range(9)}
    assert len(sketched(differences.regimes_at_a_glance, studies=many).alt) <= 300


def test_heads_are_means_over_seeds() -> None:
    drawn = data(pruned_heads)
    assert len(drawn) == 2 * 8 * (len(SPARSITIES) - 1)
    of_head = {"part": "layer 1 head 2", "sparsity": 0.6, "arm": "prune_pretrain"}
    one, shown = where(study(), **of_head), where(drawn, **of_head)
    assert len(one) == len(SEEDS)
    assert shown.value.tolist() == pytest.approx([100 * (one.value.mean() - 0.6)])


def test_mask_differences_are_of_the_whole_model() -> None:
    drawn = data(mask_difference)
    assert len(drawn) == len(TASKS) * len(SEEDS) * (len(SPARSITIES) - 1)
    assert "epochs_before_pruning" not in set(drawn.arm)


def test_accuracy_before_pruning_is_the_best_over_learning_rates() -> None:
    found = study()
    ours = where(found, arm="epochs_before_pruning", metric="accuracy")
    better = ours.assign(learning_rate=2 * RATE, value=ours.value + 0.01)
    drawn = sketched(before_pruning, rows.join([found, better])).data
    drawn = where(drawn, panel="dev accuracy")
    assert set(drawn.position) == {0, 1, 3, 6}
    last = better[better.epoch == better.epoch.max()]
    assert sorted(drawn.value) == pytest.approx(sorted(last.value))


def test_several_sparsities_before_pruning_are_not_their_best() -> None:
    found = study()
    ours = where(found, arm="epochs_before_pruning")
    lower = ours.assign(sparsity=0.9, value=ours.value - 0.3)
    drawn = sketched(before_pruning, rows.join([found, lower])).data
    means = where(drawn, panel="dev accuracy").groupby("sparsity").value.mean()
    assert means[0.6] - means[0.9] == pytest.approx(0.3)


def test_the_control_of_equal_training_is_no_point_of_pruning() -> None:
    found = study()
    ours = where(found, arm="epochs_before_pruning")
    with_control = rows.join([found, ours.assign(sparsity=0.0, value=ours.value + 0.2)])
    drawn = sketched(before_pruning, with_control).data
    assert set(where(drawn, panel="dev accuracy").sparsity) == {0.6}


def test_movement_of_a_matrix_is_not_that_of_the_model() -> None:
    drawn = data(movement_by_epoch)
    assert len(drawn) == len(TASKS) * len(SEEDS) * 3
    theirs = data(movement_by_epoch, "paper")
    # The paper's curves of 12 epochs, without the last values of its table.
    assert theirs.groupby("task").epoch.apply(list).map(len).tolist() == [13] * len(TASKS)


def test_learning_rates_are_told_apart_where_a_task_has_several() -> None:
    found = study()
    assert legend(sketched(movement_by_epoch)) == ["MNLI", "SST-2"]
    assert titles(sketched(movement_by_epoch))[1:] == ["the same in the paper"]
    moved = found[found.metric.str.startswith("movement")]
    two = rows.join([found, moved.assign(learning_rate=2 * RATE)])
    assert "learning rate 0.002" in legend(sketched(movement_by_epoch, two))
    assert "learning rate 0.002" in legend(sketched(movement_by_position, two))


def test_histograms_are_densities() -> None:
    drawn = data(weight_histograms)
    for _, one in drawn.groupby(["part", "seed"]):
        at = one.sort_values("position")
        width = np.diff(at.position).mean()
        assert (at.value * width).sum() == pytest.approx(1)


def test_matrices_are_placed_by_layer_and_kind() -> None:
    placed = weight_shapes._by_layer(where(study(), metric="weight_std", seed=0))
    assert placed.layer.tolist() == [-1, *6 * [0], *6 * [1], 2]
    in_a_layer = KINDS[1:-1]
    assert placed.kind.tolist() == [KINDS[0], *in_a_layer, *in_a_layer, KINDS[-1]]


def test_memory_is_counted_in_shares_of_the_whole() -> None:
    assert "94.0 MB, 21.3 %" in sketched(memory).drawn(MAKER).svg


def test_dimensions_are_sorted_by_what_is_pruned_of_them() -> None:
    ranked = where(data(pruned_embeddings), panel="pruned, by dimension")
    for _, one in ranked.groupby(["arm", "sparsity"]):
        at = one.sort_values("position")
        assert at.position.tolist() == list(range(1, DIMENSIONS + 1))
        assert at.value.is_monotonic_increasing


def test_a_panel_of_embeddings_may_be_missing() -> None:
    found = study()
    sketch = sketched(pruned_embeddings, found[found.part != "subword"])
    assert titles(sketch) == ["pruned, by dimension"]
    with pytest.raises(UserError, match="prune_pretrain"):
        sketched(pruned_embeddings, where(found, sparsity=0))


@pytest.mark.parametrize("name", ["lab", "english", "ci"])
def test_the_command_under_a_figure_runs_a_point_that_the_study_has_not(name: str) -> None:
    small = studies.load(name)
    plan = small.plan()
    kinds = {sketched(figure).own_point for figure in FIGURES} - {""}
    for what in ["dense", "burn_in", *kinds]:
        for line in figures.own_point(small, what).splitlines():
            words = shlex.split(line, comments=True)
            assert words[:2] == ["bertprune", "run"]
            contract = parameters_of_run(words[2])
            given = dict(zip(words[6::3], words[7::3], strict=True))
            assert words[5::3] == ["-p"] * len(given)
            values = {key: studies.parse_value(value) for key, value in given.items()}
            one = notebook_parameters.parse(contract, small.values_for(contract, values))
            assert Run.of(one) not in plan


@pytest.mark.parametrize("name", ["lab", "english", "ci"])
def test_a_mean_over_tasks_gets_a_point_of_all_of_them(name: str) -> None:
    small = studies.load(name)
    lines = figures.own_point(small, "average").splitlines()
    given = [shlex.split(line, comments=True)[-1] for line in lines]
    found = [np.ravel(studies.parse_value(tasks)) for tasks in given]
    of_study = [task for of in small.grid["task"] for task in np.ravel(of)]
    assert sorted(np.concatenate(found)) == sorted(of_study)
    averages: list[Sketcher] = [average_and_training_loss, differences.regimes_at_a_glance]
    assert {sketched(figure).own_point for figure in averages} == {"average"}
