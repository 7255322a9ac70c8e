"""All pictures, of a study that has rows of every metric: what they say, and what they need."""

import dataclasses
import functools
import re
from collections.abc import Callable
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from bertprune.base.errors import UserError
from bertprune.book.figures import (
    accuracy,
    information,
    pruned_weights,
    sort_order_movement,
    training_curves,
    weight_shapes,
)
from bertprune.book.figures.picture import Picture, made_by
from bertprune.evidence import paper, scores
from bertprune.evidence.claims import straight_lines
from bertprune.protocol import rows
from bertprune.protocol.arms import ARMS
from bertprune.protocol.notebook_parameters import BurnIn, Finetune
from bertprune.protocol.rows import Rows

from .synthetic import DIMENSIONS, MATRICES, RATE, SEEDS, SPARSITIES, TASKS, study

MAKER = made_by("study tiny & small", Finetune())

Draw = Callable[[Rows], Picture]


def accuracy_and_loss(found: Rows) -> Picture:
    losses = scores.pretraining_losses(found)
    return accuracy.accuracy_and_loss(scores.scores(found), losses, MAKER)


def average_and_loss(found: Rows) -> Picture:
    losses = scores.pretraining_losses(found)
    return accuracy.average_and_loss(scores.scores(found), losses, MAKER)


def average_and_training_loss(found: Rows) -> Picture:
    return accuracy.average_and_training_loss(found, MAKER, paper=paper.rows())


def accuracy_drop(found: Rows) -> Picture:
    return accuracy.accuracy_drop(found, MAKER, paper=paper.rows())


def drops_beside(found: Rows) -> Picture:
    return accuracy.drops_beside(found, MAKER)


def information_deletion(found: Rows) -> Picture:
    return information.information_deletion(
        found, straight_lines.line_fits(found), MAKER, paper=paper.rows()
    )


def mask_difference(found: Rows) -> Picture:
    return pruned_weights.mask_difference(found, MAKER)


def before_pruning(found: Rows) -> Picture:
    return pruned_weights.before_pruning(found, MAKER)


def pruned_heads(found: Rows) -> Picture:
    return pruned_weights.pruned_heads(found, MAKER)


def movement_by_epoch(found: Rows) -> Picture:
    return sort_order_movement.movement_by_epoch(found, MAKER, paper=paper.rows())


def movement_by_position(found: Rows) -> Picture:
    return sort_order_movement.movement_by_position(found, MAKER)


def weight_histograms(found: Rows) -> Picture:
    return weight_shapes.weight_histograms(found, MAKER)


def weight_std(found: Rows) -> Picture:
    return weight_shapes.weight_std(found, MAKER, paper=paper.rows())


def memory(found: Rows) -> Picture:
    return weight_shapes.memory(found, MAKER)


def embedding_magnitudes(found: Rows) -> Picture:
    return weight_shapes.embedding_magnitudes(found, MAKER)


def bits_recalled(found: Rows) -> Picture:
    content = {"facts": 100.0, "kinds": 10.0}
    return information.bits_recalled(scores.bits(_with_bits(found)), content, MAKER)


def bits_against(found: Rows) -> Picture:
    scored = scores.scores(found)
    points = scores.with_bits(
        scored.assign(panel=scored.task, value=scored.accuracy), scores.bits(_with_bits(found))
    )
    return information.bits_against(points, MAKER, what="Dev accuracy of it", caption="Accuracy.")


def recovery(found: Rows) -> Picture:
    curves = scores.recovery_curves(found)
    return training_curves.recovery_from_pruning(curves, MAKER, ramp_steps=20)


def learning_curves(found: Rows) -> Picture:
    run = found[(found.arm == "prune_pretrain") & (found.sparsity == 0) & (found.seed == 0)]
    maker = made_by("study tiny & small", BurnIn())
    return training_curves.learning_curves(run, maker, ramp_steps=15)


def _with_bits(found: Rows) -> Rows:
    losses = found[(found.task == rows.PRETRAINING) & (found.metric == "loss")]
    known = {"facts": 90.0, "kinds": 9.0, "all": 99.0}
    return rows.join(
        [
            found,
            *(
                losses.assign(split="probe", metric=f"{sort}_bits", value=bits / losses.value)
                for sort, bits in known.items()
            ),
        ]
    )


OF_ANALYSES: list[Draw] = [
    mask_difference,
    before_pruning,
    pruned_heads,
    movement_by_epoch,
    movement_by_position,
    weight_histograms,
    weight_std,
    memory,
    embedding_magnitudes,
]
OF_SCORES: list[Draw] = [
    accuracy_and_loss,
    average_and_loss,
    average_and_training_loss,
    accuracy_drop,
    drops_beside,
    bits_against,
]
ALL = [*OF_ANALYSES, *OF_SCORES, information_deletion, bits_recalled, learning_curves, recovery]


@functools.cache
def drawn_by(draw: Draw) -> Picture:
    return draw(study())


@pytest.fixture(params=ALL)
def picture(request: pytest.FixtureRequest) -> Picture:
    return drawn_by(request.param)


def data(draw: Draw, source: str = "study") -> pd.DataFrame:
    drawn = drawn_by(draw).data
    return drawn[drawn.source == source]


def test_a_figure_says_on_itself_who_made_it(picture: Picture) -> None:
    for svg in (picture.svg, picture.narrow_svg):
        assert "Made by study tiny &amp; small" in svg
    assert "study tiny & small" in picture.alt


def test_a_figure_is_whole_in_itself(picture: Picture) -> None:
    page = re.sub(r"(<(?:img|source) [^>]*)>", r"\1/>", picture._repr_html_())
    image = ElementTree.fromstring(page).find("picture/img")
    assert image is not None
    assert image.get("alt") == picture.alt
    assert (image.get("src") or "").startswith("data:image/svg+xml;base64,")
    for svg in (picture.svg, picture.narrow_svg):
        for element in ElementTree.fromstring(svg).iter():
            for name, value in element.attrib.items():
                assert not name.endswith("href") or value.startswith(("#", "data:image/png"))


def test_words_for_those_who_do_not_see_it(picture: Picture) -> None:
    assert len(re.findall(r"\d", picture.alt.removesuffix(MAKER))) > 3
    assert "nan" not in picture.alt


def test_the_data_is_what_is_drawn(picture: Picture) -> None:
    assert re.fullmatch("[a-z-]+", picture.name)
    assert len(picture.data) and picture.data.value.notna().all()
    assert not picture.data.duplicated().any()
    for panel in picture.data.panel.unique():
        assert panel in picture.alt + ElementTree.tostring(
            ElementTree.fromstring(picture.svg), "unicode", method="text"
        )


@pytest.mark.parametrize("draw", [accuracy_drop, embedding_magnitudes])
def test_the_same_rows_give_the_same_bytes(draw: Draw) -> None:
    first, second = drawn_by(draw), draw(study())
    assert first == second
    assert first.csv == second.csv


@pytest.mark.parametrize("draw", OF_ANALYSES)
def test_rows_without_the_analysis_are_a_users_error(draw: Draw) -> None:
    analyses = ("weights", "embeddings", "heads", "features", "masks")
    found = study()
    found = found[~found.split.isin(analyses) & (found.arm != "epochs_before_pruning")]
    with pytest.raises(UserError, match="runs of"):
        draw(found)


@pytest.mark.parametrize("draw", [*OF_SCORES, *OF_ANALYSES, information_deletion, bits_recalled])
def test_captions_of_a_single_seed_promise_no_bands_over_seeds(draw: Draw) -> None:
    found = study()
    caption = draw(found[found.seed == 1]).caption
    for promise in ("are seeds", "the 3 seeds", "over seeds", "deviation over"):
        assert promise not in caption.replace("deviation over the weights", "")


@pytest.mark.parametrize("draw", [average_and_training_loss, accuracy_drop, drops_beside])
def test_captions_say_which_arms_have_several_seeds(draw: Draw) -> None:
    found = study()
    found = found[(found.arm == "prune_pretrain") | (found.seed == 0)]
    caption = draw(found).caption
    assert "pruned while pre-training 3, information deletion 1," in caption
    assert "the 3 seeds" in drawn_by(draw).caption


def test_captions_name_the_levels_and_whose_mean_they_are() -> None:
    found = study()
    whole = drawn_by(average_and_training_loss).caption
    assert whole.endswith("Dashed: dense, the mean over its seeds; dotted: never pre-trained.")
    fewer = found[(found.arm == "prune_pretrain") | (found.seed == 0)]
    mixed = average_and_training_loss(fewer).caption
    assert "the mean over its seeds, also beside arms that have fewer" in mixed
    # Drops are from the dense model of the same seed.
    assert "Dashed: dense; dotted" in accuracy_drop(fewer).caption
    alone = average_and_training_loss(found[(found.seed == 0) & (found.arm != "from_scratch")])
    assert alone.caption.endswith("Dashed: dense.")


def test_the_papers_drops_do_not_set_the_axis() -> None:
    ours = pd.DataFrame(
        {"arm": "prune_pretrain", "sparsity": [0.0, 0.9], "seed": 0, "value": [0.0, -2.0]}
    )
    panel = accuracy._Panel(ours, ours.assign(value=[0.0, -30.0]), is_share=False, is_drop=True)
    limits = {}
    for is_drop in (True, False):
        axes = Figure().subplots()
        accuracy._panel(axes, dataclasses.replace(panel, is_drop=is_drop), ["prune_pretrain"])
        limits[is_drop] = axes.get_ylim()
    assert -3 < limits[True][0] < -2 and 0 < limits[True][1] < 1
    assert limits[False][0] < -30


def test_the_dense_level_is_of_the_seeds_that_were_pruned(monkeypatch: pytest.MonkeyPatch) -> None:
    found = study()
    levels: list[float] = []
    monkeypatch.setattr(pruned_weights, "dashed", lambda _, level: levels.append(level))
    before_pruning(found[(found.arm == "prune_pretrain") | (found.seed == 2)])
    scored = scores.scores(found).set_index(["arm", "task", "sparsity", "seed"]).accuracy
    ours = [scored["prune_pretrain", task, 0.0, 2] for task in TASKS]
    assert levels[0] == pytest.approx(sum(ours) / len(ours))


@pytest.mark.parametrize("arm", ["prune_pretrain", "information_deletion"])
def test_a_part_of_a_study_can_be_drawn(arm: str) -> None:
    found = study()
    picture = accuracy_and_loss(found[(found.arm == arm) | (found.task == rows.PRETRAINING)])
    assert ARMS[arm].words in picture.alt
    assert "pruned after fine-tuning" not in picture.alt + picture.svg


def test_one_task_is_its_own_average() -> None:
    found = study()
    found = found[found.task.isin(["sst2", rows.PRETRAINING])]
    drawn = average_and_training_loss(found).data
    assert set(drawn.panel) == {"average dev accuracy", "average training loss (nats)"}
    dense = drawn[(drawn.source == "paper") & (drawn.panel == "average dev accuracy")]
    dense = dense[(dense.arm == "prune_pretrain") & (dense.sparsity == 0)]
    assert dense.value.tolist() == pytest.approx([0.921])


def test_the_figure_of_one_task_is_of_that_task() -> None:
    found = study()
    one = average_and_loss(found[found.task.isin(["sst2", rows.PRETRAINING])])
    assert list(one.data.panel.unique()) == ["sst2: dev accuracy", "pre-training: dev loss (nats)"]


def test_averages_over_other_tasks_are_not_laid_over_each_other() -> None:
    found = study().replace({"task": {"mnli": "mrpc"}})
    assert set(average_and_training_loss(found).data.source) == {"study"}
    drawn = accuracy_drop(found).data
    assert set(drawn[drawn.source == "paper"].panel) == {"sst2 (points)"}
    alone = found[found.task != "sst2"]
    assert set(accuracy_drop(alone).data.source) == {"study"}


def test_a_readers_own_task_leaves_the_averages() -> None:
    found = study().assign(own=False)
    own = found[(found.task == "sst2") & (found.sparsity == 0)].assign(task="cola", own=True)
    before, after = (
        average_and_training_loss(one).data for one in (found, pd.concat([found, own]))
    )
    pd.testing.assert_frame_equal(after, before)


def test_an_average_needs_all_tasks() -> None:
    found = study()
    gone = (found.arm == "prune_pretrain") & (found.sparsity == 0.3) & (found.task == "sst2")
    drawn = average_and_training_loss(found[~gone]).data
    ours = drawn[(drawn.source == "study") & (drawn.arm == "prune_pretrain")]
    assert 0.3 not in set(ours.sparsity)
    assert set(ours.sparsity) == {0.0, 0.6, 0.9}


def test_drops_are_from_the_same_seeds_dense_model() -> None:
    drawn = data(accuracy_drop)
    dense = drawn[(drawn.arm == "prune_pretrain") & (drawn.sparsity == 0)]
    assert (dense.value == 0).all()
    scored = scores.scores(study()).set_index(["arm", "task", "sparsity", "seed"]).accuracy
    one = drawn[(drawn.task == "mnli") & (drawn.arm == "random_pruning") & (drawn.seed == 2)]
    ours = [scored["random_pruning", "mnli", at, 2] for at in SPARSITIES[1:]]
    dense_score = scored["prune_pretrain", "mnli", 0.0, 2]
    expected = [100 * (score - dense_score) for score in ours]
    assert one.sort_values("sparsity").value.tolist() == pytest.approx(expected)


def test_without_a_dense_model_there_is_no_drop() -> None:
    found = study()
    with pytest.raises(UserError, match="sparsity 0"):
        accuracy_drop(found[(found.sparsity > 0) | (found.arm != "prune_pretrain")])


def test_the_papers_drops_are_behind_ours() -> None:
    theirs = data(accuracy_drop, "paper")
    theirs = theirs[theirs.task == "mnli"]
    at = theirs[(theirs.arm == "prune_pretrain") & (theirs.sparsity == 0.9)]
    table = paper.glue().set_index(["arm", "sparsity", "task"]).dev_accuracy
    drop = table["prune_pretrain", 0.9, "mnli"] - table["prune_pretrain", 0.0, "mnli"]
    assert at.value.tolist() == pytest.approx([drop])


def test_recovery_is_of_pruned_pretraining_with_its_ramp() -> None:
    picture = recovery(study())
    assert set(picture.data.step) == {50, 70, 100} and set(picture.data.sparsity) == set(SPARSITIES)
    assert "shaded" in picture.caption
    curves = scores.recovery_curves(study())
    assert "shaded" not in training_curves.recovery_from_pruning(curves, MAKER).caption
    ends = study()[study().step == 100]
    with pytest.raises(UserError, match="while models are pruned"):
        recovery(ends)


def test_slopes_are_in_the_legend() -> None:
    found = study()
    fit = straight_lines.line_fits(found).set_index("task")
    picture = drawn_by(information_deletion)
    for task in TASKS:
        slope = f"{task} −{100 * abs(fit.slope[task]):.1f} ("
        assert slope in picture.svg and slope in picture.alt


def test_half_of_figure_2_can_be_drawn() -> None:
    found = study()
    picture = information_deletion(found[found.split != "features"])
    assert "imilarity" not in picture.caption + picture.alt
    only = found[(found.metric == "cosine_similarity")]
    picture = information.information_deletion(only, straight_lines.line_fits(only), MAKER)
    assert list(picture.data.panel.unique()) == ["similarity to dense features"]
    assert "Accuracy of information deletion" not in picture.alt
    with pytest.raises(UserError, match="information_deletion"):
        information_deletion(found[found.arm == "from_scratch"])


def test_a_task_of_too_few_points_has_no_slope() -> None:
    found = study()
    kept = (found.task != "sst2") | (found.sparsity < 0.5)
    seed = found.seed == 0
    picture = information_deletion(found[kept & (seed | (found.task != "sst2"))])
    assert "nan" not in picture.svg + picture.alt
    assert "mnli −" in picture.alt and "sst2 " not in picture.alt


def test_heads_are_means_over_seeds() -> None:
    drawn = data(pruned_heads)
    assert len(drawn) == 2 * 8 * (len(SPARSITIES) - 1)
    found = study()
    one = found[(found.part == "layer 1 head 2") & (found.sparsity == 0.6)]
    one = one[one.arm == "prune_pretrain"]
    shown = drawn[(drawn.part == "layer 1 head 2") & (drawn.sparsity == 0.6)]
    shown = shown[shown.arm == "prune_pretrain"]
    assert len(one) == len(SEEDS)
    assert shown.value.tolist() == pytest.approx([one.value.mean()])


def test_mask_differences_are_of_the_whole_model() -> None:
    drawn = data(mask_difference)
    assert len(drawn) == len(TASKS) * len(SEEDS) * (len(SPARSITIES) - 1)
    assert "epochs_before_pruning" not in set(drawn.arm)


def test_accuracy_before_pruning_is_the_best_over_learning_rates() -> None:
    found = study()
    ours = (found.arm == "epochs_before_pruning") & (found.metric == "accuracy")
    better = found[ours].assign(learning_rate=2 * RATE, value=found[ours].value + 0.01)
    drawn = before_pruning(rows.join([found, better])).data
    drawn = drawn[drawn.panel == "dev accuracy"]
    assert set(drawn.position) == {0, 1, 3, 6}
    last = better[better.epoch == better.epoch.max()]
    assert sorted(drawn.value) == pytest.approx(sorted(last.value))


def test_several_sparsities_before_pruning_are_not_their_best() -> None:
    found = study()
    ours = found.arm == "epochs_before_pruning"
    lower = found[ours].assign(sparsity=0.9, value=found[ours].value - 0.3)
    drawn = before_pruning(rows.join([found, lower])).data
    means = drawn[drawn.panel == "dev accuracy"].groupby("sparsity").value.mean()
    assert means[0.6] - means[0.9] == pytest.approx(0.3)


def test_movement_of_a_matrix_is_not_that_of_the_model() -> None:
    drawn = data(movement_by_epoch)
    assert len(drawn) == len(TASKS) * len(SEEDS) * 3
    theirs = data(movement_by_epoch, "paper")
    # The paper's curves of 12 epochs, without the last values of its table.
    assert theirs.groupby("task").epoch.apply(list).map(len).tolist() == [13] * len(TASKS)


def test_learning_rates_are_told_apart_where_a_task_has_several() -> None:
    found = study()
    assert "learning rate" not in drawn_by(movement_by_epoch).svg
    moved = found[found.metric.str.startswith("movement")]
    two = rows.join([found, moved.assign(learning_rate=2 * RATE)])
    assert "learning rate 0.002" in movement_by_epoch(two).svg
    assert "at 0.002" in movement_by_position(two).svg


def test_histograms_are_densities() -> None:
    drawn = data(weight_histograms)
    for _, one in drawn.groupby(["part", "seed"]):
        at = one.sort_values("position")
        width = np.diff(at.position).mean()
        assert (at.value * width).sum() == pytest.approx(1)


def test_matrices_are_placed_by_layer_and_kind() -> None:
    found = study()
    drawn = weight_shapes._by_layer(found[found.metric == "weight_std"])
    first = drawn.drop_duplicates("part").set_index("part")
    for matrix, kind in MATRICES.items():
        assert first.kind[matrix] == kind
    assert first.layer["embeddings.word_embeddings"] == -1
    assert first.layer["encoder.layer.1.output.dense"] == 1
    assert first.layer["pooler.dense"] == 2


def test_memory_is_counted_in_shares_of_the_whole() -> None:
    assert "word embeddings 94.0 MB, 21.3 %" in drawn_by(memory).alt


def test_dimensions_are_sorted_by_what_is_pruned_of_them() -> None:
    drawn = data(embedding_magnitudes)
    ranked = drawn[drawn.panel == "pruned, by dimension"]
    for _, one in ranked.groupby(["arm", "sparsity"]):
        at = one.sort_values("position")
        assert at.position.tolist() == list(range(1, DIMENSIONS + 1))
        assert at.value.is_monotonic_increasing


def test_a_panel_of_embeddings_may_be_missing() -> None:
    found = study()
    drawn = embedding_magnitudes(found[found.part != "subword"]).data
    assert list(drawn.panel.unique()) == ["embedding magnitudes", "pruned, by dimension"]
    dense = embedding_magnitudes(found[found.sparsity == 0]).data
    assert list(dense.panel.unique()) == ["embedding magnitudes"]
