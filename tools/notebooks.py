"""Execute the notebooks: their sources are the `.py` files; on real data, the `.ipynb` beside them are rewritten.

    make notebooks DATA=folder/with/the/downloads WEIGHTS=mobilenetv2.weights.h5
    make notebooks DATA=synthetic           # drawn lesions, in minutes; written to runs/notebooks/executed

Data, models and reports are kept in the work folder, so that a second run starts from them.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import jupytext
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

HOUSE = Path(__file__).resolve().parents[1]
ROOT = HOUSE / "notebooks"
STORY = (  # in the order in which they are read
    "load_predict_look",
    "data_audit",
    "initial_model",
    "fine_tune_process",
    "metrics_evaluation",
    "weak_decision_investigation",
    "gradcam_process",
)
_BUDGET = {"trials": int, "epochs": int, "size": int, "share": float}


def execute(name: str) -> NotebookNode:
    """Run a notebook from its source, in its own folder."""
    folder = ROOT / name
    notebook = jupytext.read(folder / f"{name}.py")
    client = NotebookClient(
        notebook,
        timeout=None,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,
        extra_arguments=["--log-level=ERROR"],
    )
    client.execute()
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{name}-{number}"  # random ids would make every run a change
    # Of the kernel, only what a reader of the file needs: versions of its machine would make every run a change too.
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def main() -> None:
    """Execute the notebooks that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(STORY)}; default: all")
    parser.add_argument("--data", default="synthetic", help="synthetic, or the folder with the public files")
    parser.add_argument(
        "--weights", default="imagenet", help="of MobileNetV2, for real data: a file, or imagenet"
    )
    parser.add_argument("--work", help="where to keep data and models (default: a folder in runs/notebooks)")
    parser.add_argument("--out", type=Path, help="where to write (default: see above)")
    for option, kind in _BUDGET.items():
        parser.add_argument(f"--{option}", type=kind, help="of the random search; see notebooks/material.py")
    given = vars(parser.parse_args())
    if unknown := sorted(set(given["names"]) - set(STORY)):
        parser.error(f"no notebook named {', '.join(unknown)}; there are {', '.join(STORY)}")
    if given["data"] != "synthetic" and not Path(given["data"]).is_dir():
        parser.error(f"--data {given['data']}: no such folder; name that of the public files, or synthetic")
    executed = HOUSE / "runs" / "notebooks" / "executed"
    out = given["out"] or (executed if given["data"] == "synthetic" else ROOT)
    for option in ("data", "weights", "work", *_BUDGET):
        word = given[option]
        if word is not None:
            known = option in ("data", "weights", "work") and word not in ("synthetic", "imagenet")
            os.environ[f"MELASCOPE_NOTEBOOK_{option.upper()}"] = str(Path(word).resolve() if known else word)
    os.environ["PYTHONWARNINGS"] = "ignore:IProgress not found"  # of a progress bar that needs a browser
    for name in given["names"] or STORY:
        started = time.monotonic()
        try:
            notebook = execute(name)
        except CellExecutionError as error:
            sys.exit(f"{name}: {error}")
        target = out / name / f"{name}.ipynb"
        target.parent.mkdir(parents=True, exist_ok=True)
        jupytext.write(notebook, target)
        print(f"{target}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
