"""Random search over the settings of a training (Bergstra & Bengio 2012) that stops hopeless trials early.

Any number of processes share a search folder, on one machine or on several with a common file system. Optuna keeps
its record in `study.journal`; each trial has its run folder, `trials/NUMBER/`. A process locks the trial that it works
on, and the lock dies with the process. The next process without work resumes such a trial from its last checkpoint, so
no trial is lost.

Trials are stopped by asynchronous successive halving (Li et al. 2020, arXiv:1810.05934): of those that have 6 % of
their course behind them, and later of those with 24 %, about the best quarter continues. Trials of different length are
compared at the same share of their course. After the same epoch, the trial whose learning rate falls soonest would look
best.
"""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
from filelock import FileLock, Timeout
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from melascope import cluster, files, manifest
from melascope.errors import DataError, ModelError
from melascope.learn import checkpoint, training
from melascope.learn.settings import Settings
from melascope.learn.training import BASE, MODEL
from melascope.model.card import Card
from melascope.model.folder import ModelFiles
from melascope.progress import Progress, silent

TRIALS = "trials.csv"
REDUCTION = 4  # at a rung, one trial in four continues; the next rung is four times as far
_COURSE, _FIRST_RUNG = 1000, 60  # steps in the course of every trial; the step of the first rung
SAMPLERS = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
SPACE: dict[str, Callable[[optuna.Trial, Settings], float]] = {
    "rate": lambda trial, given: (
        trial.suggest_float("rate", 3e-5, 1e-3, log=True)
        if given.weights
        else trial.suggest_float("rate", 3e-4, 1e-2, log=True)
    ),
    "dropout": lambda trial, _: trial.suggest_float("dropout", 0, 0.6),
    # A schedule of warm-up and cosine has no meaning with fewer than two epochs.
    "epochs": lambda trial, given: trial.suggest_int("epochs", min(2, given.epochs), given.epochs),
    "weight_decay": lambda trial, _: trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True),
    "augmentation": lambda trial, _: trial.suggest_float("augmentation", 0.5, 2),
    "label_smoothing": lambda trial, _: trial.suggest_float("label_smoothing", 0, 0.15),
    "unfrozen": lambda trial, _: trial.suggest_float("unfrozen", 0.2, 1),
}
"""Fields of `Settings` that can be searched, and how each is drawn."""

EPOCHS = 16  # of a trial at most, unless the user says otherwise

optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Search:
    """The settings of a search."""

    settings: Settings
    """Of every trial, except the fields that are searched; `epochs` is the maximum of a trial."""
    names: tuple[str, ...]
    """The fields that are searched, of those in `SPACE`."""
    trials: int = 20
    sampler: str = "random"
    """A key of `SAMPLERS`."""


def searchable(settings: Settings) -> tuple[str, ...]:
    """The fields of `SPACE` that apply: without pretrained weights, freezing layers is no option."""
    return tuple(name for name in SPACE if settings.weights or name != "unfrozen")


@dataclass(frozen=True)
class Result:
    """The state of a search."""

    trials: pd.DataFrame
    """A row a trial: `number`, `state` (complete, pruned, fail, running), `score` (the mean validation ROC-AUC of the
    targets at the best epoch), `epochs_run`, `seconds`, and the settings that were searched."""
    curves: dict[int, dict[int, float]]
    """By trial and epoch: the score."""
    best: int | None
    """The trial whose model was kept; None while none is complete."""
    models: list[Path]
    """The `.keras` files that were kept, the best model last; empty while no trial is complete."""


def search(
    data: Path, out: Path, asked: Search, progress: Progress = silent, address: str | None = None
) -> Result:
    """Work on a search, alone or beside other processes, until no trial is left; then keep the best model.

    Writes `trials.csv` and, as `train` does, a complete `model.*` and `history.csv` of the best trial, and `base.*`,
    the frozen baseline that all trials start from.

    Args:
        data: a folder made by `prepare`.
        out: the search folder; a search of the same settings and data is resumed, also with more trials.
        asked: the settings of the search.
        progress: called with (what, done, total).
        address: of a Ray cluster whose machines share the work, see `melascope.cluster.connected`; `data` and `out`
            have the same path on each.

    Raises:
        DataError: if the data cannot be learned from, or `out` holds another search.
        ModelError: if backbone, size and weights do not fit together.
        MelascopeError: if no cluster answers at the address.
    """
    with cluster.connected(address) if address else nullcontext() as ray:
        begin(data, out, asked, progress)
        if ray is None:
            work(data, out, asked, progress)
        else:
            _work_on_ray(ray, data.absolute(), out.absolute(), asked, progress)
    with FileLock(out / ".finish.lock"):
        result = keep_best(out, asked)
        training.complete(result.models, data, asked.settings.seed, progress)
    return result


def begin(data: Path, out: Path, asked: Search, progress: Progress = silent) -> None:
    """Reserve the folder, and train the frozen baseline in it, which all trials share."""
    if asked.settings.members > 1:
        raise DataError("a search trains one network a trial; leave --members out")
    unknown = sorted(set(asked.names) - set(SPACE))
    if unknown or not asked.names:
        raise DataError(
            f"cannot search over {', '.join(unknown) or 'nothing'}; name some of {', '.join(SPACE)}"
        )
    wanted = {
        "settings": asdict(asked.settings),
        "names": list(asked.names),
        "sampler": asked.sampler,
        "rungs": [_COURSE, _FIRST_RUNG, REDUCTION],
        "data": manifest.content_hash(manifest.read(data)),
    }
    out.mkdir(parents=True, exist_ok=True)
    with FileLock(out / ".begin.lock"):
        files.claim(out / "search.json", wanted, "a search")
        if asked.settings.weights is not None:
            training.train_networks(data, out / "start", replace(asked.settings, epochs=0), progress)


def _work_on_ray(ray: Any, data: Path, out: Path, asked: Search, progress: Progress) -> None:
    gpus = cluster.count(ray, "GPU")
    workers = gpus or max(1, cluster.count(ray, "CPU"))
    # A worker that dies is started again elsewhere, and resumes its trial.
    worker = ray.remote(max_retries=asked.trials, num_cpus=1, num_gpus=min(gpus, 1))(work)
    busy = [worker.remote(data, out, asked) for _ in range(min(workers, asked.trials))]
    study = _study(out, asked)
    while busy:
        done, busy = ray.wait(busy, timeout=1)
        ray.get(done)
        progress("trials", _ended(study), asked.trials)


def work(data: Path, out: Path, asked: Search, progress: Progress = silent) -> None:
    """Work on trials, interrupted ones first, until none is left."""
    while (claimed := claim_trial(out, asked)) is not None:
        trial, lock = claimed
        try:
            _train(data, out, trial, asked, progress)
        finally:
            lock.release()
        progress("trials", _ended(trial.study), asked.trials)


def keep_best(out: Path, asked: Search) -> Result:
    """Write `trials.csv`, and copy the best model so far as it was trained, without conversion and gate."""
    trials = _study(out, asked).get_trials(deepcopy=False)
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    best = max(complete, key=lambda trial: (trial.value, -trial.number)).number if complete else None
    rows = pd.DataFrame([_row(out, trial) for trial in trials])
    with files.replacing(out / TRIALS) as beside:
        rows.to_csv(beside, index=False)
    models = [] if best is None else _keep(out, best)
    return Result(rows, {trial.number: _curve(trial) for trial in trials}, best, models)


def claim_trial(out: Path, asked: Search) -> tuple[optuna.Trial, FileLock] | None:
    """Lock a trial that no process works on: an interrupted one, or a new one.

    Returns:
        The trial and the lock, which the caller holds; None if there is no trial left.
    """
    with FileLock(out / ".lock"):
        study = _study(out, asked)
        trials = study.get_trials(deepcopy=False)
        for known in trials:
            if known.state != TrialState.RUNNING:
                continue
            lock = _lock(out, known.number)
            try:
                lock.acquire(blocking=False)
            except Timeout:
                continue  # its process lives
            # Since it was read, another process may have finished it and released the lock.
            if study.get_trials(deepcopy=False)[known.number].state == TrialState.RUNNING:
                return optuna.Trial(study, known._trial_id), lock
            lock.release()
        if len(trials) >= asked.trials:
            return None
        trial = study.ask()
        lock = _lock(out, trial.number)
        lock.acquire()
        return trial, lock


def _lock(out: Path, number: int) -> FileLock:
    folder = _folder(out, number)
    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / ".lock")


def _train(data: Path, out: Path, trial: optuna.Trial, asked: Search, progress: Progress) -> None:
    # Seed and number alone decide what is drawn; processes, times and interruptions do not.
    trial.study.sampler = SAMPLERS[asked.sampler](seed=1000 * asked.settings.seed + trial.number)
    drawn: dict[str, Any] = {name: SPACE[name](trial, asked.settings) for name in asked.names}
    settings, run = replace(asked.settings, **drawn), _folder(out, trial.number)

    def on_epoch(epoch: int, score: float) -> None:
        trial.report(score, round(_COURSE * epoch / settings.epochs))
        if epoch < settings.epochs and trial.should_prune():
            raise optuna.TrialPruned

    try:
        start = out / "start" if settings.weights else None
        training.train_networks(data, run, settings, progress, start=start, on_epoch=on_epoch)
    except optuna.TrialPruned:
        trial.study.tell(trial, state=TrialState.PRUNED)
        checkpoint.clear(run)
    except ModelError as error:  # such as a rate at which the training diverges
        trial.set_user_attr("reason", str(error))
        trial.study.tell(trial, state=TrialState.FAIL)
        checkpoint.clear(run)
    else:
        scores = trial.study.get_trials(deepcopy=False)[trial.number].intermediate_values
        trial.study.tell(trial, max(scores.values()))


def _study(out: Path, asked: Search) -> optuna.Study:
    return optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(out / "study.journal"))),
        study_name="search",
        direction="maximize",
        sampler=SAMPLERS[asked.sampler](),
        pruner=optuna.pruners.SuccessiveHalvingPruner(_FIRST_RUNG, REDUCTION),
        load_if_exists=True,
    )


def _ended(study: optuna.Study) -> int:
    return sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))


def _folder(out: Path, number: int) -> Path:
    return out / "trials" / f"{number:04d}"


def _row(out: Path, trial: FrozenTrial) -> dict[str, object]:
    history = _folder(out, trial.number) / "history.csv"
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "score": max(trial.intermediate_values.values(), default=None),
        "epochs_run": len(trial.intermediate_values),
        "seconds": round(pd.read_csv(history)["seconds"].sum(), 1) if history.is_file() else 0.0,
        **trial.params,
    }


def _curve(trial: FrozenTrial) -> dict[int, float]:
    """Score by epoch; each was reported under its step of the course."""
    return dict(enumerate((score for _, score in sorted(trial.intermediate_values.items())), start=1))


def _keep(out: Path, best: int) -> list[Path]:
    """Make the search folder a run folder: the best model under the search's name, its card last."""
    run, kept = _folder(out, best), []
    for folder, name, called in ((out / "start", BASE, f"{out.name}-{BASE}"), (run, MODEL, out.name)):
        source, target = ModelFiles(folder / f"{name}.keras"), ModelFiles(out / f"{name}.keras")
        if not source.card.is_file():
            continue  # from random weights there is no baseline
        # A model that stands here already may have its gate.
        if not target.card.is_file() or _network(target) != _network(source):
            source.copy(target, called)
        kept.append(target.keras)
    files.copy(run / "history.csv", out / "history.csv")
    return kept


def _network(model: ModelFiles) -> str:
    return Card.read(model.card).keras_sha256
