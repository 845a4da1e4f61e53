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
# # Load, predict, look
#
# Three steps with the shipped model, on drawn lesions.
# They need the plain installation of Melascope and Jupyter, and take seconds.
# Put the path of your own image in the place of `lesion`, and run all cells again.
#
# *A research tool: it supports a clinician and never replaces one.*

# %%
from IPython.display import display

import melascope as ms
from melascope.synthetic import MELANOMA, NEVUS, draw

model = ms.load()
display(model)

# %% [markdown]
# ## One image
#
# An answer shows what the network saw, the heat map, the label and the probabilities.

# %% tags=["synthetic"]
lesion = draw(9, MELANOMA).pixels
answer = model.predict(lesion)
display(answer)

# %% [markdown]
# ## Several images
#
# A list, a folder or a ZIP gives a table.
# An image that is too dark is refused, with the reason.

# %% tags=["synthetic"]
images = [draw(seed, diagnosis).pixels for diagnosis in (MELANOMA, NEVUS) for seed in range(4)]
answers = model.predict([*images, images[0] // 8])
display(answers)

# %% [markdown]
# ## The picture for a report
#
# `explain` draws the image beside its heat map, with the answer in words.
# A heat map shows where the network responded.
# It is not evidence.

# %% tags=["synthetic"]
display(model.explain(lesion, target="melanoma"))
