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
# # Where the network looks, and whether that means anything
#
# Grad-CAM paints a picture of where a network responded. Such pictures convince: if the heat lies on the lesion,
# the answer seems well founded. This notebook looks at the heat of lesions that were caught, missed, left alone and
# falsely suspected, and then tests the pictures themselves.

# %%
import sys

import numpy as np

sys.path.append("..")
from matplotlib.figure import Figure

import material
from melascope import images, manifest
from melascope.evaluate.figure import mean
from melascope.evaluate.lesion import masks_of
from melascope.explain.cam import heat_map
from melascope.explain.overlay import pair
from melascope.infer.predictor import Predictor
from melascope.labels import TARGETS
from melascope.report import lesion as pages
from melascope.report.figures import BLUE, MUTED, style
from melascope.synthetic import MELANOMA, NEVUS, draw
from telling import RESEARCH, interval, percent, roc_auc, say, show, table, verdict

say(material.ABOUT)
predictor = Predictor.load(material.model())
threshold = predictor.card.threshold["malignant"]
MALIGNANT = TARGETS.index("malignant")
OUTCOMES = {
    "malignant, caught": (True, True),
    "malignant, missed": (True, False),
    "benign, left alone": (False, False),
    "benign, false alarm": (False, True),
}

# %% [markdown]
# ## What such pictures look like
#
# No photograph of a patient is shown here: these lesions are drawn. Of forty drawn melanomas and forty drawn nevi,
# each outcome is shown by the one with the highest or the lowest probability. Left the lesion, right the heat for
# malignant; where nothing speaks for malignant, there is none.

# %% tags=["synthetic"]
SEEDS = 40
drawn = []
for malignant, kind in ((True, MELANOMA), (False, NEVUS)):
    for seed in range(SEEDS):
        pixels = draw(seed, kind).pixels
        drawn.append((malignant, pixels, predictor.answer(pixels)))
for words, outcome in OUTCOMES.items():
    some = [one for one in drawn if (one[0], one[2].malignant >= threshold) == outcome]
    if not some:
        say(f"**{words}**: none of the drawn lesions.")
        continue
    _, pixels, answer = (max if outcome[1] else min)(some, key=lambda one: one[2].malignant)
    say(
        f"**{words}** ({len(some)} of {SEEDS}): probability of malignant {answer.malignant:.2f}, threshold "
        f"{threshold:.2f}"
    )
    show(*pair(pixels, answer.heat[MALIGNANT], 260))

# %% [markdown]
# A picture is an anecdote. What follows is measured on every image of the test split whose lesion was outlined by
# hand (or, if drawn, is known).
#
# ## The mean heat of each outcome
#
# Below, the heat maps of all these images are averaged, by outcome. The line is where half of the images have their
# lesion.

# %%
SIDE = 112
by_id = masks_of(material.masks())
rows = manifest.usable(manifest.read(material.data()), "test")
rows = rows[rows["image_id"].isin(by_id) & rows["malignant"].notna()].reset_index(drop=True)
answers = list(predictor.predict(rows["path"].tolist()))
heat = np.stack([heat_map(answer.heat[MALIGNANT], SIDE) for answer in answers])
lesion = np.stack([images.load(by_id[name], SIDE)[..., 0] > 127 for name in rows["image_id"]])
truth = rows["malignant"].to_numpy(bool)
called = np.array([answer.malignant >= threshold for answer in answers])
with style():
    figure = Figure(figsize=(9, 2.5), layout="constrained")
    panels = figure.subplots(1, 4)
    for axes, (words, (malignant, suspected)) in zip(panels, OUTCOMES.items(), strict=True):
        at = (truth == malignant) & (called == suspected)
        axes.set_title(f"{words}\n({at.sum():,} images)", fontsize=9)
        axes.set_axis_off()
        if at.any():
            shown = axes.imshow(heat[at].mean(axis=0), cmap="inferno", vmin=0, vmax=0.8)
            axes.contour(lesion[at].mean(axis=0), [0.5], colors="white", linewidths=1.5)
    figure.colorbar(shown, ax=panels, shrink=0.7, label="mean heat")
show(figure)

# %% [markdown]
# ## Does the heat lie in the lesion?
#
# The blue dot is the share of the heat that lies in the lesion. The grey one is the share of the image that the
# lesion covers: what a map that knows nothing would reach.

# %%
found = material.attributed()
maps = found["maps"]
with style():
    figure = Figure(figsize=(7, 2.9), layout="constrained")
    axes = figure.add_subplot()
    for y, row in enumerate(maps):
        for key, colour, shift in (("inside", BLUE, -0.12), ("area", MUTED, 0.12)):
            if row[key]["value"] is None:
                continue
            if row[key]["low"] is not None:
                axes.hlines(y + shift, row[key]["low"], row[key]["high"], color=colour, linewidth=2)
            axes.plot(row[key]["value"], y + shift, "o", color=colour)
    axes.plot([], [], "o", color=BLUE, label="heat in the lesion")
    axes.plot([], [], "o", color=MUTED, label="area of the lesion")
    axes.set_yticks(range(len(maps)), [f"{row['part']} ({row['n']:,})" for row in maps])
    axes.set(ylim=(len(maps) - 0.5, -0.5), xlim=(0, 1), xlabel="share")
    axes.grid(axis="y", visible=False)
    axes.legend(loc="lower right")
show(figure)


total = heat.sum(axis=(1, 2))
warm = total > 0
inside = (heat * lesion).sum(axis=(1, 2)) / np.where(warm, total, 1)
beyond = inside - lesion.mean(axis=(1, 2))


def prefers(part):
    """Where the heat of these images is, by the difference of both shares, image by image."""
    malignant, suspected = OUTCOMES.get(part, (truth, called))  # of "all images", every one
    at = warm & (truth == malignant) & (called == suspected)
    return verdict(
        mean(beyond[at], rows["group"][at], 0).document(),
        "the heat prefers the lesion",
        "the heat avoids the lesion",
        "neither can be told",
    )


table(
    [
        {
            "images": f"{row['part']} ({row['n']:,})",
            "without any heat": row["without_heat"],
            "heat in the lesion": percent(row["inside"]),
            "its area": percent(row["area"]),
            "hottest place in it": percent(row["hit"]),
            "so": prefers(row["part"]),
        }
        for row in maps
    ]
)

# %% [markdown]
# ## Can a map tell a wrong answer from a right one?
#
# One would like to distrust an answer whose heat lies beside the lesion. If that were sound, then among lesions
# called malignant, the share of the heat outside the lesion would tell false alarms from those rightly caught; and
# among lesions called benign it might tell the missed ones. A ROC-AUC of 0.5 says that it does not at all.

# %%
tells = {}
for words, part in (("called malignant", called & warm), ("called benign", ~called & warm)):
    tells[words] = roc_auc((called != truth)[part], 1 - inside[part], rows["group"][part])
    kept = verdict(
        tells[words],
        "wrong answers have more of their heat outside the lesion",
        "it is the other way round: wrong answers have less of their heat outside the lesion",
        "not told apart from chance",
        than=0.5,
    )
    say(
        f"- **{words}**: {(called != truth)[part].sum():,} of {part.sum():,} answers with heat are wrong. Heat "
        f"outside the lesion tells them from the others with a ROC-AUC of {interval(tells[words], 2)}: {kept}."
    )

# %% [markdown]
# ## Do the maps mean anything?
#
# Three more tests. *Hiding*: with the lesion painted over by the skin around it, how much does the model still
# tell? *Deletion and insertion*: if hot places matter, blurring them first should lower the probability faster than
# blurring places in the order of a random map, and showing them first should raise it faster. *Shuffling*: if the
# weights of the network are shuffled, the maps should change; maps that stay show the image, not what was learned.

# %%
MATTER = "hot places matter less", "hot places matter more", "not told apart from chance"
folder = material.report_folder(material.FINE_TUNED)
pages.draw_lesion(found, folder)
show(folder / "figures" / "lesion_parts.png", folder / "figures" / "lesion_faithful.png")
parts, faithful, shuffled = found["parts"]["malignant"], found["faithful"], found["randomised"]
deletion, insertion = (
    verdict(faithful[name], *words)
    for name, words in (("deletion", MATTER), ("insertion", (MATTER[1], MATTER[0], MATTER[2])))
)
say(
    f"- **Hiding.** ROC-AUC for malignant {interval(parts['whole'], 3)} on whole images, "
    f"{interval(parts['hidden'], 3)} with the lesion painted over, "
    f"{interval(parts['alone'], 3)} on the lesion alone: {percent(parts['rest'])} of what is told above chance is "
    "still told without the lesion."
    if not parts["reason"]
    else f"- **Hiding.** {parts['reason']}.",
    f"- **Deletion** by heat against a random map: {interval(faithful['deletion'], 3)} (below zero is good): "
    f"{deletion}.",
    f"- **Insertion**: {interval(faithful['insertion'], 3)} (above zero is good): {insertion}.",
    "- **Shuffling**: rank correlation with the trained maps "
    + ", ".join(f"{row['correlation']:.2f} ({row['layers']} of {row['of']} layers)" for row in shuffled)
    + ".",
)

# %% [markdown]
# ## What to keep

# %%
everyone = maps[0]
missed = next(row for row in maps if row["part"] == "malignant, missed")
alarm = next(row for row in maps if row["part"] == "benign, false alarm")
learned = max(abs(row["correlation"]) for row in shuffled) < 0.5
passed = [deletion, insertion].count(MATTER[1])
changed = (
    "change with the weights, so they show something that was learned"
    if learned
    else "hardly change with the weights, so they show the image more than what was learned"
)
say(
    f"""
    - In all images together, {prefers(everyone["part"])}: {percent(everyone["inside"])} of it beside
      {percent(everyone["area"])} of area.
    - In missed malignant lesions ({missed["n"]:,} with heat, {missed["without_heat"]:,} without any)
      {prefers(missed["part"])}; in false alarms ({alarm["n"]:,}) {prefers(alarm["part"])}.
    - Heat beside the lesion tells wrong answers from right ones with a ROC-AUC of
      {interval(tells["called malignant"], 2)} among
      those called malignant, and of {interval(tells["called benign"], 2)} among those called benign. 1 would be an
      alarm that can be
      relied on.
    - The maps {changed}; that hot places matter more than others is borne out by {passed} of the two tests.
    - A map is as coarse as the last layer, {answers[0].heat.shape[1]} by {answers[0].heat.shape[2]} places, and
      tells where the network responded, not why. **It is not evidence.**
    """,
    RESEARCH,
)
