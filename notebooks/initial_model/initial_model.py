# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # The initial model, and how it overfits
#
# The first model that one builds: take a network that has learned from photographs of everyday things (MobileNetV2,
# ImageNet), leave it as it is, and train nothing but a linear layer on what it says of 2,000 dermoscopic images (of
# fewer, where they are drawn). It costs minutes, and it is the baseline that everything later must beat. This
# notebook trains that layer in the plain way, watches it overfit, and looks at what helps.

# %%
import sys

import numpy as np

sys.path.append("..")
from matplotlib.figure import Figure

import material
from melascope import intervals, manifest
from melascope.evaluate.figure import mean
from melascope.evaluate.metrics import Ranked, Sample
from melascope.learn import batches, head, network
from melascope.learn.backend import keras
from melascope.learn.pixels import decoded
from melascope.report.figures import BLUE, INK, ORANGE, style
from telling import RESEARCH, interval, roc_auc, say, show, table, verdict

say(material.ABOUT)
IMAGES = 2000 if material.REAL else 150
EPOCHS = 60

# %% [markdown]
# ## Features of a frozen network
#
# Four fifths of the images come from the training split and one fifth from the validation split, whole groups at a
# time: no patient, lesion or copy is on both sides. The test split stays whole, and no choice is made on it.

# %%
folder = material.part("initial", train=IMAGES * 4 // 5, validation=IMAGES // 5)
rows = manifest.usable(manifest.read(folder))
rows = rows[rows["malignant"].notna()].reset_index(drop=True)
keras.utils.set_random_seed(0)
frozen = network.build(material.BACKBONE, material.SIZE, material.WEIGHTS, dropout=0)
features = batches.outputs(
    network.truncated_at(frozen, "pool"), decoded(rows, material.SIZE, folder), 32, "features"
)
truth = rows["malignant"].to_numpy(float)
split = {name: rows["split"].eq(name).to_numpy() for name in manifest.SPLITS}
say(
    "Images with a known diagnosis: "
    + ", ".join(f"{at.sum():,} in {name} ({truth[at].sum():,.0f} malignant)" for name, at in split.items())
    + f". Each is told by {features.shape[1]:,} numbers, and the head has a weight for every one of them."
)

# %% [markdown]
# ## The plain way: one epoch after the other
#
# Adam, a rate of 0.001, batches of 32, no penalty and no stopping. After each epoch the head is asked about the
# images that it learned from and about those of validation.

# %%
plain = keras.Sequential([keras.Input(features.shape[1:]), keras.layers.Dense(1, activation="sigmoid")])
plain.compile(keras.optimizers.Adam(1e-3), "binary_crossentropy")
told = []
for _ in range(EPOCHS):
    plain.fit(features[split["train"]], truth[split["train"]], batch_size=32, verbose=0)
    told.append(plain.predict(features, verbose=0)[:, 0].astype(float))
told = np.clip(told, 1e-7, 1 - 1e-7)
losses = -np.where(truth, np.log(told), np.log(1 - told))  # epochs x images


def course(name):
    """Loss and ROC-AUC by epoch, with all resamples of the groups."""
    at = split[name]
    group = rows.loc[at, "group"].factorize()[0]
    samples = [Sample.of(truth[at], p[at], group) for p in told]

    def statistics(weights):
        return {
            "loss": weights @ losses[:, at].T / weights.sum(axis=1, keepdims=True),
            "roc_auc": np.stack([Ranked.of(s, weights[:, s.order]).roc_auc() for s in samples], axis=1),
        }

    once = {key: values[0] for key, values in statistics(np.ones((1, at.sum()))).items()}
    return once, intervals.draws(statistics, group, resamples=500)


courses = {name: course(name) for name in ("train", "validation")}
with style():
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    panels = figure.subplots(1, 2)
    epochs = np.arange(1, EPOCHS + 1)
    for axes, key, words in zip(
        panels, ("loss", "roc_auc"), ("loss (cross-entropy)", "ROC-AUC"), strict=True
    ):
        for name, colour in (("train", ORANGE), ("validation", BLUE)):
            once, draws = courses[name]
            axes.fill_between(epochs, *intervals.band(draws[key]), color=colour, alpha=0.15, linewidth=0)
            axes.plot(
                epochs, once[key], color=colour, label={"train": "images it learned from"}.get(name, name)
            )
        axes.set(xlabel="epoch", title=words)
    lowest = int(courses["validation"][0]["loss"].argmin())
    panels[0].axvline(lowest + 1, color=INK, linewidth=1, linestyle=":")
    panels[0].annotate(
        f"lowest: epoch {lowest + 1}",
        (lowest + 1, 0.98),
        (5, 0),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        va="top",
    )
    panels[1].legend(loc="center right", bbox_to_anchor=(1, 0.66))
show(figure)

# %%
once, draws = courses["validation"]
rise = {"value": once["loss"][-1] - once["loss"][lowest]}
rise["low"], rise["high"], _ = intervals.interval(draws["loss"][:, -1] - draws["loss"][:, lowest])
end = {name: courses[name][0]["roc_auc"][-1] for name in courses}
low, high, _ = intervals.interval(courses["validation"][1]["roc_auc"][:, -1])
after = (
    f"lowest after epoch {lowest + 1}; from there to epoch {EPOCHS} it changes by {interval(rise, 3)}: "
    + verdict(
        rise,
        "it rises again, while the other falls on. This is overfitting: what the head learns late is true of the "
        "images that it learns from and of no others, and it becomes surer and surer of it",
        "it falls",
        "no rise that could be told from chance",
    )
    if lowest < EPOCHS - 1
    else "still falling in the last epoch"
)
say(
    f"""
    On the images it learned from, the loss ends at {courses["train"][0]["loss"][-1]:.3f} and the ROC-AUC at
    {end["train"]:.3f}. On validation the loss is {after}. The ROC-AUC of validation ends at
    {end["validation"]:.3f} ({low:.3f} to {high:.3f}).
    """
)

# %% [markdown]
# ## What helps: a penalty, and more images
#
# `melascope train` does not train the head by epochs. With the backbone frozen, the best head of a given penalty
# can be computed, so the penalty is all there is to choose, and it is chosen on validation
# (`melascope.learn.head`). Below, heads are fitted so to more and more of the images, and asked about those they
# learned from and about the test split.

# %%
rng = np.random.default_rng(0)
order = rng.permutation(np.flatnonzero(split["train"]))
counts = [n for n in (100, 200, 400, 800, 1600) if n < len(order)] + [len(order)]
steps = {}
for n in dict.fromkeys(counts):
    kernel, bias = head.fit(
        features[order[:n]],
        truth[order[:n], None],
        features[split["validation"]],
        truth[split["validation"], None],
        np.array([True]),
    )
    steps[n] = 1 / (1 + np.exp(-(features @ kernel + bias)[:, 0].astype(float)))


def ranked(probability, at):
    """ROC-AUC with its interval."""
    return roc_auc(truth[at], probability[at], rows["group"][at])


own = {n: ranked(p, order[:n]) for n, p in steps.items()}
tests = {n: ranked(p, split["test"]) for n, p in steps.items()}
with style():
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for points, colour, words in ((own, ORANGE, "images it learned from"), (tests, BLUE, "test split")):
        axes.vlines(
            list(points),
            [f["low"] or f["value"] for f in points.values()],
            [f["high"] or f["value"] for f in points.values()],
            color=colour,
        )
        axes.plot(list(points), [f["value"] for f in points.values()], "o-", color=colour, label=words)
    axes.set_xscale("log")
    axes.set_xticks(list(points), [f"{n:,}" for n in points])
    axes.minorticks_off()
    axes.set(xlabel="training images", ylabel="ROC-AUC")
    axes.legend(loc="lower right")
show(figure)

# %%
most, least = max(steps), min(steps)
heads = {
    f"plain, after epoch {EPOCHS}": told[-1],
    f"plain, stopped after epoch {lowest + 1}": told[lowest],
    "penalty chosen on validation": steps[most],
}
table(
    [
        {
            "head": words,
            "ROC-AUC, images it learned from": interval(ranked(p, split["train"]), 3),
            "ROC-AUC, test": interval(ranked(p, split["test"]), 3),
            "loss, test": interval(
                mean(
                    -np.log(np.where(truth, p, 1 - p)[split["test"]].clip(1e-7)),
                    rows["group"][split["test"]],
                    0,
                ).document(),
                3,
            ),
        }
        for words, p in heads.items()
    ]
)
gaps = [own[n]["value"] - tests[n]["value"] for n in (least, most)]
clear = (tests[most]["low"] or 0) > (tests[least]["high"] or 1)
say(
    f"""
    From {least:,} to {most:,} training images, the ROC-AUC on test goes from {interval(tests[least], 3)} to
    {interval(tests[most], 3)}: {"more images help" if clear else "whether more images help cannot be told"}. What
    the head
    seems to know of its own images exceeds that by {gaps[0]:.3f} at first and by {gaps[1]:.3f} at last.
    """,
    "The figure to keep is that of the last row, on test: this is what `base_model` is, fitted to fewer images. "
    "`fine_tune_process/` asks "
    "what changing the backbone itself is worth.",
    RESEARCH,
)
