"""What a step of fine-tuning costs on this machine: `melascope train` beside plain Keras `fit`, in one run.

Images a second, all layers trained, float32, batches of 32, decoding and augmentation included. The plain way reads
JPEG files with the usual loader of its framework and flips and turns them. Prints a table and writes
`bench_training.json`.

    make bench WHAT=training
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from record import record

from melascope import manifest

BACKBONE, SIZE = "EfficientNetB0", 128
IMAGES, EPOCHS, BATCH, SIDE = 256, 3, 32, 224
BACKENDS = ("torch", "tensorflow")

# The loop of a tutorial: loader, two layers of augmentation, fit. The first epoch, which builds graphs, does not count.
PLAIN = """
import sys, time
import keras
folder, backbone, size, batch, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
if keras.config.backend() == "tensorflow":
    import tensorflow as tf
    turn = keras.Sequential([keras.layers.RandomFlip(), keras.layers.RandomRotation(0.5)])
    many, shape = tf.data.AUTOTUNE, (size, size)
    data = keras.utils.image_dataset_from_directory(folder, image_size=shape, batch_size=batch, label_mode="binary")
    data = data.map(lambda x, y: (turn(x, training=True), y), num_parallel_calls=many).prefetch(many)
else:
    import pathlib, random
    import numpy as np, torch
    from PIL import Image
    class Folder(torch.utils.data.Dataset):
        files = sorted(pathlib.Path(folder).rglob("*.jpg"))
        def __len__(self):
            return len(self.files)
        def __getitem__(self, i):
            image = Image.open(self.files[i]).convert("RGB").resize((size, size), Image.BILINEAR)
            image = image.rotate(random.uniform(0, 360), Image.BILINEAR)
            return np.asarray(image, dtype="float32"), np.float32([self.files[i].parent.name == "malignant"])
    data = torch.utils.data.DataLoader(Folder(), batch_size=batch, shuffle=True)
base = getattr(keras.applications, backbone)(include_top=False, weights=None, input_shape=(size, size, 3))
head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dropout(0.2), keras.layers.Dense(1, activation="sigmoid")]
model = keras.Sequential([base, *head])
model.compile(keras.optimizers.AdamW(1e-4), "binary_crossentropy", jit_compile=False)
model.fit(data, epochs=1, verbose=0)
started = time.perf_counter()
model.fit(data, epochs=epochs - 1, verbose=0)
print("seconds an epoch", (time.perf_counter() - started) / (epochs - 1))
"""

# The training of `melascope train`; its progress shows when each step was done. Validation lies between epochs.
OURS = """
import sys, time
from pathlib import Path
from melascope.learn.settings import Settings
from melascope.learn.training import train_networks
folder, backbone, size, batch, epochs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
steps = []
def progress(what, done, total):
    if what.startswith("training"):
        steps.append((done, total // epochs, time.perf_counter()))
train_networks(Path(folder), Path(folder) / "run", Settings(backbone, None, size, epochs, epochs, batch), progress)
took = [b[2] - a[2] for a, b in zip(steps, steps[1:]) if a[0] % a[1] and a[0] > a[1]]
print("seconds an epoch", sum(took) * steps[0][1] / len(took))
"""


def write_images(folder: Path) -> None:
    """Write JPEG files by class, and a data set folder of the same images."""
    rng = np.random.default_rng(0)
    rows = []
    for i in range(IMAGES + IMAGES // 4):
        label = ("benign", "malignant")[i % 2]
        path = folder / ("plain" if i < IMAGES else "more") / label / f"{i:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(60, 220, (14, 14, 3), dtype=np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=90)
        row = {"image_id": f"i{i}", "path": str(path), "source": "made", "pixel_hash": f"{i:064x}"}
        row |= {"malignant": i % 2 == 1, "melanoma": i % 4 == 1, "group": f"g{i}", "excluded": ""}
        rows.append(row | {"split": "train" if i < IMAGES else "validation"})
    table = pd.DataFrame(rows).reindex(columns=list(manifest.COLUMNS))
    manifest.write(table.astype({"malignant": "boolean", "melanoma": "boolean"}), folder / "data")


def rate(script: str, folder: Path, backend: str) -> float:
    """Images a second, in a process of its own."""
    words = [sys.executable, "-c", script, folder, BACKBONE, SIZE, BATCH, EPOCHS]
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(
        [str(w) for w in words], env=environment, check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return IMAGES / float(done.stdout.split()[-1])


def main() -> None:
    """Measure, print, write."""
    rates = {}
    for backend in BACKENDS:
        # In turns, so that other work of the machine slows both; the better of two counts.
        turns = []
        for _ in range(2):
            with tempfile.TemporaryDirectory() as temporary:
                folder = Path(temporary)
                write_images(folder)
                turns.append([rate(PLAIN, folder / "plain", backend), rate(OURS, folder / "data", backend)])
        rates[backend] = [max(column) for column in zip(*turns, strict=True)]
    best = max(plain for plain, _ in rates.values())
    for backend, (plain, ours) in rates.items():
        print(
            f"{BACKBONE} {SIZE} px  {backend:10}  plain Keras {plain:6.1f}  melascope {ours:6.1f} images/s"
            f"   ratio {ours / plain:5.2f}   to the best plain {ours / best:5.2f}"
        )
    figures = {name: dict(zip(("plain", "melascope"), pair, strict=True)) for name, pair in rates.items()}
    record("bench_training.json", network=f"{BACKBONE}, {SIZE} px", images_per_second=figures)


if __name__ == "__main__":
    main()
