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
# # Weak decisions: which, why, and what finds them
#
# A probability between 0.45 and 0.55 sounds like "I do not know". This notebook asks which images of the test split
# get such an answer, whether anything sets them apart, and whether this band is the right place to look for errors.
# It compares the band with conformal prediction sets, which ask instead which of the two answers can be ruled out.

# %%
import sys

import numpy as np

sys.path.append("..")
from matplotlib.figure import Figure

import material
from melascope.evaluate import cases
from melascope.evaluate.figure import mean
from melascope.infer.predictor import Predictor
from melascope.report import doubt as pages
from melascope.report.figures import BLUE, INK, MUTED, ORANGE, style
from telling import RESEARCH, dots, interval, percent, roc_auc, say, show, table, verdict

BAND = 0.45, 0.55
say(material.ABOUT)
predictions, metrics = material.report()
card = Predictor.load(material.model()).card
threshold, sets = card.threshold["malignant"], card.prediction_sets
findings = cases.find(predictions, threshold, sets, BAND)
judged = findings.images[findings.images["malignant"].notna()].reset_index(drop=True)
truth = judged["malignant"].to_numpy(bool)
p = judged["p_malignant"].to_numpy()
within = judged["weak"].to_numpy(bool)
wrong = judged["called"].to_numpy(bool) != truth

# %% [markdown]
# ## Which
#
# All probabilities of malignancy that the model gives on the test split. The narrow band is 0.45 to 0.55. The wide
# one is where conformal sets leave both answers open. By them, a decision is weak there, and also between the
# clinical threshold and the wide band, where the answer that is given is the one that is ruled out.

# %%
with style():
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True)
    edges = np.linspace(0, 1, 41)
    low, high = sorted((sets.low, sets.high))
    for axes, of, colour, words in (
        (panels[0], ~truth, BLUE, "benign"),
        (panels[1], truth, ORANGE, "malignant"),
    ):
        axes.hist(p[of], edges, color=colour, alpha=0.8)
        axes.set_yscale("function", functions=(lambda n: np.sqrt(np.maximum(n, 0)), np.square))
        axes.axvspan(low, high, color=MUTED, alpha=0.15, linewidth=0, label="conformal sets", zorder=0)
        axes.axvspan(*BAND, color=MUTED, alpha=0.4, linewidth=0, label="0.45 to 0.55", zorder=0)
        axes.axvline(threshold, color=INK, linestyle=":", label=f"clinical threshold {threshold:.2f}")
        axes.set(ylabel=words, xlim=(0, 1))
    panels[0].set_title("Images by probability of malignant (height: square root of their number)")
    panels[1].set_xlabel("probability of malignant")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
show(figure)
one_side = (
    "all called malignant"
    if threshold <= BAND[0]
    else "all called benign"
    if threshold >= BAND[1]
    else "called by which side of the threshold they are on"
)
say(
    f"{within.sum():,} of {len(judged):,} images lie in the band, "
    f"{percent(mean(within.astype(float), judged['group'], 0).document(), 1)}; {truth[within].sum():,} of them are "
    f"malignant. The clinical threshold is {threshold:.2f}, so these images are {one_side}: the band is where the "
    "probability is near one half, which is not where the decision turns."
)
closest = findings.weak.head(8)
table(
    [
        {
            "closest to one half": row["image_id"],
            "source": row["source"],
            "diagnosis": row["diagnosis"],
            "probability": f"{row['p_malignant']:.3f}",
        }
        for row in closest.to_dict("records")
    ]
    or [{"closest to one half": "none in the band"}]
)

# %% [markdown]
# ## Why
#
# Two guesses. Some diagnoses may be harder than others; and images that are blurred, flat or dark may be harder to
# read.

# %%
families = judged["diagnosis"].fillna("not told").str.lower()
common = [name for name, n in families.value_counts().items() if n >= 20][:8]
by_diagnosis = [
    (
        f"{name} ({families.eq(name).sum():,})",
        mean(within[families == name].astype(float), judged["group"][families == name], 0).document(),
    )
    for name in common
]
by_diagnosis.sort(key=lambda row: -row[1]["value"])
show(dots(by_diagnosis, "share in the band; in brackets, images", width=7))
quality = {
    name: roc_auc(within, judged[name].to_numpy(float), judged["group"])
    for name in ("sharpness", "contrast", "brightness")
}
show(
    dots(
        list(quality.items()),
        "how well it tells images in the band from others (ROC-AUC; 0.5 is not at all)",
        chance=0.5,
        width=7,
    )
)
defined = [(words, f) for words, f in by_diagnosis if f["low"] is not None]
most = max(defined, key=lambda row: row[1]["value"], default=None)
say(
    (
        f"Of the frequent diagnoses, {most[0].rpartition(' (')[0]} has the largest share of its images in the "
        f"band: {percent(most[1])}."
        if most
        else "No diagnosis is frequent enough to say."
    ),
    "\n".join(
        f"- {name}: images in the band "
        f"{verdict(told, 'have more of it', 'have less of it', 'are not told apart by it', than=0.5)}, "
        f"{interval(told, 2)}."
        for name, told in quality.items()
    ),
    "A difference, where there is one, may also be one of clinics and diagnoses: the images are not the same in "
    "any other way.",
)

# %% [markdown]
# ## Is that where the errors are?
#
# An answer is wrong when the decision at the clinical threshold is. The question for a clinician is: if I look
# again at the most doubtful images, in what order do I find most errors? `melascope doubt` compares four orders at
# equal numbers of images handed back.

# %%
in_sets = sets.weak(p, judged["called"].to_numpy(bool))
for words, chosen in (("in the band 0.45 to 0.55", within), ("weak by conformal sets", in_sets)):
    share = {
        name: mean(wrong[at].astype(float), judged["group"][at], 0).document()
        for name, at in (("inside", chosen), ("outside", ~chosen))
    }
    caught = mean(chosen[wrong].astype(float), judged["group"][wrong], 0).document()
    say(
        f"- **{words}**: {chosen.sum():,} images; wrong are {percent(share['inside'])} of them and "
        f"{percent(share['outside'])} of all others; "
        f"they hold {percent(caught)} of all {wrong.sum():,} errors, and {(chosen & wrong & truth).sum():,} of "
        f"{(wrong & truth).sum():,} missed malignant lesions."
    )
doubt = material.doubted()
pages.draw_doubt(doubt, material.report_folder(material.FINE_TUNED))
show(material.report_folder(material.FINE_TUNED) / "figures" / "risk_coverage.png")
table(
    [
        {
            "errors caught when this share is handed back": row["name"],
            **{f"{float(rate):.0%}": percent(figure) for rate, figure in row["caught"].items()},
            "wrong among the rest, mean over all shares": percent(row["area"], 1),
        }
        for row in doubt["methods"]
    ]
)

# %% [markdown]
# ## What conformal sets promise, and to whom
#
# For each class, its own answer is ruled out wrongly in a fixed small share of the cases, whatever the network: for
# cases like those of validation. A single clinic is not like the mixture of all.

# %%
cover = doubt["sets"]["rows"]
show(
    dots(
        [(f"{row['class']}, {row['source']} ({row['covered']['n']:,})", row["covered"]) for row in cover],
        f"share whose own answer is not ruled out (promised: {doubt['sets']['coverage']:.0%})",
        chance=doubt["sets"]["coverage"],
        width=7,
    )
)
short = [
    f"{row['class']} lesions of {'all sources together' if row['source'] == 'all' else row['source']}"
    for row in cover
    if row["covered"]["high"] is not None and row["covered"]["high"] < doubt["sets"]["coverage"]
]
change = {row["name"]: row["area_change"] for row in doubt["methods"]}["conformal sets"]
missed = {row["name"]: row["missed_caught"]["0.3"] for row in doubt["methods"]}
say(
    f"""
    - Ordered by conformal sets, the share of wrong answers among those kept differs from that of the band around
      one half by {interval(change, 3)}, in the mean over all shares:
      {verdict(change, "the band is better", "conformal sets find errors sooner", "neither is told to be better")}.
    - Of the missed malignant lesions, handing back 30 % of the images by conformal sets finds
      {percent(missed["conformal sets"])}, by the band around the threshold
      {percent(missed["band around the threshold"])}: which order is best depends on which error one fears.
    - The promise is {"broken for " + ", ".join(short) if short else "not seen to be broken anywhere"}.
    """,
    RESEARCH,
)
