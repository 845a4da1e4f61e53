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
# # Random search over fine-tuning, and the full data
#
# The initial model left the backbone as ImageNet made it. Fine-tuning changes the backbone too, at a low rate, and
# three settings decide how it goes: the learning rate, the dropout before the head, and how many epochs the
# schedule runs over. Nobody knows good values beforehand, so they are drawn at random (Bergstra and Bengio 2012),
# and trials that do badly early on are cut short.

# %%
import sys

import numpy as np

sys.path.append("..")
from scipy.stats import bootstrap, spearmanr

import material
from melascope import manifest
from melascope.evaluate.figure import roc_auc_gain
from melascope.evaluate.predictions import predict
from melascope.infer.predictor import Predictor
from melascope.learn.search import search
from melascope.report import search as pages
from telling import RESEARCH, dots, interval, roc_auc, say, show, table, verdict

say(material.ABOUT)

# %% [markdown]
# ## The search
#
# Trials share one validation split and one start, the frozen baseline. A trial is judged by the mean validation
# ROC-AUC of both targets, malignant and melanoma, at its best epoch. The search folder can be stopped and taken up
# again, and `melascope tune` does the same from the command line.

# %%
folder, asked = material.searched(), material.asked()
out = material.WORK / "search"
found = search(folder, out, asked)
pages.write(found, asked, out)
images = manifest.usable(manifest.read(folder))["split"].value_counts()
drawn = found.trials
say(
    f"This search: {len(drawn)} trials of {asked.settings.backbone} on {images['train']:,} training and "
    f"{images['validation']:,} validation images "
    f"({material.SHARE:.0%} of the data) at {asked.settings.size} pixels, at most {asked.settings.epochs} epochs "
    "each; "
    f"{drawn['epochs_run'].sum():.0f} epochs in all. {(drawn['state'] == 'pruned').sum()} trials were cut short."
    + (
        " Images this small keep a search affordable on two cores; a lesion's fine structure is lost in them."
        if asked.settings.size < 128
        else ""
    )
)
show(out / "figures" / "search_curves.png")
show(out / "figures" / "search_settings.png")
best = drawn.set_index("number").loc[found.best]
table(
    [
        {
            "trial": row["number"],
            "learning rate": f"{row['rate']:.1e}",
            "dropout": f"{row['dropout']:.2f}",
            "epochs (run)": f"{row['epochs']:.0f} ({row['epochs_run']})",
            "state": row["state"],
            "validation ROC-AUC": f"{row['score']:.3f}",
        }
        for row in drawn.sort_values("score", ascending=False).to_dict("records")
    ]
)

# %% [markdown]
# ## Which setting matters
#
# Every trial was judged after its first epoch, so that is where all of them can be compared. A rank correlation of
# 1 says that more is always better, of -1 that less is; the interval resamples trials.

# %%
judged = drawn[drawn["epochs_run"] > 0]
first = [found.curves[number][1] for number in judged["number"]]


def correlation(setting):
    """Rank correlation with the score after the first epoch."""
    pairs = judged[setting].to_numpy(float), np.array(first)
    value = spearmanr(*pairs).statistic
    drawn_again = bootstrap(
        pairs,
        lambda x, y: spearmanr(x, y).statistic,
        paired=True,
        vectorized=False,
        method="percentile",
        n_resamples=1000,
        rng=0,
    )
    interval_of = drawn_again.confidence_interval
    defined = np.isfinite([interval_of.low, interval_of.high]).all()
    return {
        "value": float(value),
        "low": float(interval_of.low) if defined else None,
        "high": float(interval_of.high) if defined else None,
    }


def told(trial):
    """A trial's score and rate."""
    above, rate = int((judged["rate"] >= trial["rate"]).sum()), f"{trial['rate']:.1e}"
    return f"{trial['score']:.3f}, came with a rate of {rate} (number {above} of {len(judged)} from the top)"


worst = judged.loc[judged["score"].idxmin()]
ranks = {
    words: correlation(name)
    for words, name in (
        ("learning rate", "rate"),
        ("dropout", "dropout"),
        ("epochs of the schedule", "epochs"),
    )
}
show(dots(list(ranks.items()), "rank correlation with the score after the first epoch", chance=0))
say(
    "\n".join(
        f"- {words}: {interval(r, 2)}, "
        f"{verdict(r, 'more is better here', 'less is better here', 'not told apart from no influence')}."
        for words, r in ranks.items()
    ),
    f"The lowest score, {told(worst)}; the highest, {told(best)}. A rank correlation does not see an optimum in "
    "the middle of a range, so look at the panels above as well.",
    f"{len(judged)} trials are few, and the first epoch is not the last: within one cosine schedule the rate is "
    "high "
    "early and low late, so a long schedule starts slowly and may end better.",
)

# %% [markdown]
# ## The test
#
# The best of many trials was chosen for its validation figure, so that figure is too good: of many equal trials,
# one is lucky. The test split was not looked at. Beside the best trial stand the frozen head that it started from,
# and the fine-tuned model that this project uses, trained on the full data.

# %%
test = manifest.usable(manifest.read(material.data()), "test")
predictions = {
    "frozen, as the search started": predict(Predictor.load(out / "base.keras"), test),
    "best trial": predict(Predictor.load(out), test),
    "model trained on the full data": material.report()[0],
}
card = Predictor.load(material.model()).card
settings = card.training["settings"]
gains = {}
for target in ("malignant", "melanoma"):
    start = predictions["frozen, as the search started"]
    gains[target] = {
        name: roc_auc_gain(start, told, target).document() for name, told in list(predictions.items())[1:]
    }
show(
    dots(
        [(f"{name}, {target}", gain) for target, of in gains.items() for name, gain in of.items()],
        "gain in ROC-AUC over the frozen head at this size, test split",
        chance=0,
        width=7.5,
    )
)
tried = gains["malignant"]["best trial"]
chosen = predictions["best trial"]
tests = []
for target in gains:
    known = chosen[chosen[target].notna()]
    tests.append(roc_auc(known[target].astype(bool), known[f"p_{target}"], known["group"]))
say(
    f"""
    The best trial drew a rate of {best["rate"]:.1e}, a dropout of {best["dropout"]:.2f} and {best["epochs"]:.0f}
    epochs. On test its ROC-AUC for malignant is
    {interval(tried, 3)} above the frozen head:
    {verdict(tried, "fine-tuning helps", "fine-tuning does harm", "no gain that could be told from chance")}.
    For melanoma the gain is {interval(gains["melanoma"]["best trial"], 3)}. Its two ROC-AUCs on test are
    {interval(tests[0], 3)} and {interval(tests[1], 3)}, with a mean of
    {(tests[0]["value"] + tests[1]["value"]) / 2:.3f};
    on validation, which it was chosen on, the mean was {best["score"]:.3f}.
    """,
    f"""
    The model trained on the full data ({sum(card.data["images"]["train"].values()):,} training images,
    {settings["size"]} pixels, {settings["epochs"]} epochs at most,
    a share of {settings["unfrozen"]:g} of the layers unfrozen) stands
    {interval(gains["malignant"]["model trained on the full data"], 3)} above the same frozen head for malignant,
    and {interval(gains["melanoma"]["model trained on the full data"], 3)} for melanoma. It differs from the trial
    in more than its settings, such as the size of its images, so
    the difference between the two is not the merit of any one of them.
    """,
    "All of this is measured in clinics that the model has seen. What fine-tuning is worth elsewhere is another "
    "question, and `docs/experiments.md` has cases where it "
    "did harm there while it helped here.",
    RESEARCH,
)
