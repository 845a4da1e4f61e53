"""How much the luck of the draw matters to a shipped gate: fit it again with other seeds.

The seed decides which lesions are learned from, and how their copies and the drawn kinds look; all close-ups are always
used. Each gate takes ten minutes on one core, its features included. Prints a table row for each seed; the shipped
files stay as they are.

    make gates SEEDS="1 2 3"        after `make models`, whose data it uses
"""

import argparse
import tempfile
from pathlib import Path

from models import MODELS, WORK, percent, tiles

from melascope import files
from melascope.infer.predictor import Predictor
from melascope.learn import fit_gate, gate_examples
from melascope.model.folder import ModelFiles
from melascope.prepare.tree import images_of


def refused(model: Path, data: Path, others: dict[str, list[str]], seed: int) -> dict[str, float]:
    """Shares that a gate refuses, by kind and by unseen source."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / model.with_suffix(".keras").name
        files.copy(model.with_suffix(".onnx"), copy.with_suffix(".onnx"))
        ModelFiles(model.with_suffix(".keras")).copy(ModelFiles(copy), model.name)
        predictor = Predictor.load(copy)
        examples = gate_examples.gather(data, predictor.card.input_size, others, seed)
        gate = fit_gate.fit(copy, predictor.gate_features, examples).gate
    return {**gate["refused"], **{f"unseen {k}": v for k, v in gate["false_refusals_unseen"].items()}}


def main() -> None:
    """Print a row for each seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the downloads")
    parser.add_argument("--model", type=Path, default=MODELS / "finetuned_model")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    asked = parser.parse_args()
    option = tiles(asked.data, WORK)
    others = {Path(word).stem: images_of([word]) for word in option[1:]}
    for number, seed in enumerate(asked.seeds):
        shares = refused(asked.model, WORK / "data", others, seed)
        if not number:
            print("| seed |", " | ".join(shares), "|")
            print("|---" * (1 + len(shares)) + "|")
        print("|", seed, "|", " | ".join(map(percent, shares.values())), "|", flush=True)


if __name__ == "__main__":
    main()
