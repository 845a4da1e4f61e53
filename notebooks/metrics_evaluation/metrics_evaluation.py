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
# # How good is the model? Every figure with its interval
#
# Accuracy, F1, ROC-AUC: each answers another question, and none of them answers "may I trust it?". This notebook
# goes through them in order, for the fine-tuned model on the test split. All intervals are 95 %, from 2,000
# resamples of whole groups (patient, lesion, copies), because images of one lesion are not independent.

# %%
import sys

sys.path.append("..")
import material
from melascope.evaluate.figure import roc_auc_gain
from melascope.evaluate.metrics import BINS
from melascope.report.figures import of_target
from telling import RESEARCH, dots, interval, percent, say, show, table, verdict

say(material.ABOUT)
predictions, metrics = material.report()
frozen_predictions, frozen = material.report(material.FROZEN)
malignant, melanoma = metrics["targets"]["malignant"], metrics["targets"]["melanoma"]
drawings = {target: of_target(target, found) for target, found in metrics["targets"].items()}
say(
    f"{metrics['images']['read']:,} test images in {metrics['images']['groups']:,} groups; "
    f"{malignant['n_positive']:,} of {malignant['n']:,} with a known answer are malignant, "
    f"{melanoma['n_positive']:,} of {melanoma['n']:,} are melanomas. No group has an image in training or "
    "validation.",
    *(f"> {warning}" for warning in metrics["warnings"]),
)

# %% [markdown]
# ## Ranking: ROC and precision-recall
#
# A ROC-AUC is the share of pairs, one malignant and one benign image, that the model puts in the right order; it
# does not depend on how many lesions are malignant. Precision does, so the precision-recall curve is read against
# the dashed line, which is what calling lesions at random would reach in this test split, where malignant lesions
# are far more frequent than in practice.

# %%
for target, drawn in drawings.items():
    say(f"**{target}**")
    show(drawn["roc"], drawn["precision_recall"])
gain = {
    target: roc_auc_gain(frozen_predictions, predictions, target).document() for target in metrics["targets"]
}
table(
    [
        {
            "target": target,
            "ROC-AUC, frozen": interval(frozen["targets"][target]["roc_auc"], 3),
            "ROC-AUC, fine-tuned": interval(found["roc_auc"], 3),
            "gain, on the same resamples": interval(gain[target], 3),
            "PR-AUC": interval(found["pr_auc"], 3),
        }
        for target, found in metrics["targets"].items()
    ]
)
say(
    "Fine-tuning, against the frozen head: "
    + "; ".join(
        f"for {target}, "
        f"{verdict(g, 'it ranks better', 'it ranks worse', 'no difference that could be told from chance')}"
        for target, g in gain.items()
    )
    + "."
)

# %% [markdown]
# ## Decisions: the confusion matrix and the classification report
#
# A decision needs a threshold. One half is the habit; the clinical threshold was chosen on validation so that a
# sensitivity is held with 95 % confidence, since a missed melanoma and a needless biopsy do not weigh the same.

# %%
show(drawings["malignant"]["confusion"], drawings["melanoma"]["confusion"])
for where, words in (("at_threshold", "At the clinical threshold"), ("at_half", "At one half")):
    at = malignant[where]
    say(f"**{words}, {at['threshold']:.3f}, for malignant**")
    table(
        [
            {
                "class": row["class"],
                **{name: interval(row[name], 3) for name in ("precision", "recall", "f1")},
                "images": f"{row['support']:,}",
            }
            for row in at["report"]
        ]
    )
names = ("sensitivity", "specificity", "precision", "f1", "accuracy", "balanced_accuracy")
table(
    [
        {
            "for malignant": name.replace("_", " "),
            **{
                f"threshold {malignant[w]['threshold']:.2f}": interval(malignant[w][name], 3)
                for w in ("at_threshold", "at_half")
            },
        }
        for name in names
    ]
)
trivial = max(malignant["n_positive"], malignant["n"] - malignant["n_positive"]) / malignant["n"]
clinical, half = malignant["at_threshold"], malignant["at_half"]
caught = malignant["melanomas_caught"]
say(
    f"""
    Calling every lesion by the more frequent class is right in {trivial:.1%} of the images; an accuracy is worth
    what it is above that. At one half it is {interval(half["accuracy"], 3)}, but
    {half["confusion"]["fn"]:,} malignant lesions are missed. At the clinical threshold
    {clinical["confusion"]["fn"]:,} are missed, for {clinical["confusion"]["fp"]:,} false alarms in place of
    {half["confusion"]["fp"]:,}. Accuracy and F1 do not know which of the two is worse; a clinician does.
    """,
    f"Of the melanomas, the clinical threshold for malignant catches {percent(caught, 1)}." if caught else "",
)

# %% [markdown]
# ## Probabilities: calibration and net benefit
#
# A probability of 0.3 should come true in three of ten such images. The calibration error is the mean distance from
# that, and a perfect model too shows some of it by chance; its interval is corrected for that. Net benefit asks
# what acting on the model is worth to someone who would act from a given probability on, in comparison with acting
# on all or on none.

# %%
show(drawings["malignant"]["calibration"], drawings["malignant"]["decision"])
benefit = malignant["curves"]["benefit"]
share = malignant["n_positive"] / malignant["n"]
better = [
    x
    for x, low in zip(benefit["x"], benefit["low"], strict=True)
    if low > max(0, share - (1 - share) * x / (1 - x))
]
say(
    f"The calibration error is {interval(malignant['calibration_error'], 3)} over {BINS} bins; before calibration "
    f"it was {interval(malignant['uncalibrated_error'], 3)}. "
    + (
        "Acting on the model is worth more than acting on all or on none, beyond its interval, from a "
        f"probability of {min(better):.0%} to {max(better):.0%}."
        if better
        else "At no probability is acting on the model worth more than acting on all or on none, beyond its interval."
    )
    + " Both hold for the mixture of lesions in this test split alone."
)

# %% [markdown]
# ## The same figures by source
#
# A figure over several clinics mixes telling lesions apart with telling clinics apart.

# %%
rows = [(row["source"], row["roc_auc"]) for row in malignant["sources"] if not row["too_small"]]
show(dots([("all", malignant["roc_auc"]), *rows], "ROC-AUC for malignant", chance=0.5, width=7.5))
left_out = [row["source"] for row in malignant["sources"] if row["too_small"]]
lowest = min(rows, key=lambda row: row[1]["value"]) if rows else None
say(
    (f"The lowest is {lowest[0]}, at {interval(lowest[1], 3)}. " if lowest else "")
    + (f"Too few images of one class to say: {', '.join(left_out)}. " if left_out else "")
    + "These are clinics that the model has seen in training; elsewhere, expect less."
)

# %% [markdown]
# ## What to keep

# %%
high = lowest[1]["high"] if lowest else None
worse = high is not None and high < malignant["roc_auc"]["value"]
say(
    f"""
    - The model puts {percent(malignant["roc_auc"], 1)} of the pairs in the right order for malignant,
      {percent(melanoma["roc_auc"], 1)} for melanoma.
    - At its clinical threshold it catches {percent(clinical["sensitivity"], 1)} of the malignant lesions and
      leaves {percent(clinical["specificity"], 1)} of the benign ones alone.
    - {"One figure for all hides that a source is served worse" if worse else "No source is told to be served worse"}.
    """,
    RESEARCH,
)
