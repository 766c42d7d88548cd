"""Runs for trackers of experiments, written to local folders by their own libraries; nothing is sent anywhere.

Each of our runs becomes one of theirs: knobs as its parameters, curves as its metrics by epoch, the metrics of the
trained network as its final ones.
"""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ablate.config.errors import StorageError, UserError
from ablate.export.exported import Exported, Run, library
from ablate.records.files import make_folder

LONGEST = 200
"""Bytes of a folder's name that may follow from a run's."""
BATCH = 1_000
"""Metrics that MLflow takes at once."""


def to_tensorboard(frames: Exported, folder: Path) -> None:
    """A folder of event files for each run: `tensorboard --logdir FOLDER`."""
    _empty(folder)
    library("tensorboard", "tensorboard")
    from torch.utils.tensorboard import SummaryWriter
    from torch.utils.tensorboard.summary import hparams

    for run in frames.each():
        place = folder / run.row["sweep"] / _file_name(run)
        if place.exists():  # that of a run whose name differs in what no folder's may hold
            place = place.with_name(f"{place.name}-{run.row['run_id']}")
        writer: Any = SummaryWriter(str(place))
        for epoch, values in run.epochs():
            for name, value in values.items():
                writer.add_scalar(name, value, epoch)
        final = {f"final/{name}": value for name, value in run.metrics.items()}
        # beside the knobs, since TensorBoard shows no other text of a run in its table
        told = {**run.knobs, "status": str(run.row["status"])}
        for summary in hparams(told, dict.fromkeys(final, 0.0)):  # type: ignore[no-untyped-call]
            writer.file_writer.add_summary(summary)
        for name, value in final.items():
            writer.add_scalar(name, value)
        writer.close()


def to_mlflow(frames: Exported, folder: Path) -> None:
    """A SQLite database, an experiment for each sweep: `mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.db`."""
    _empty(folder)
    client_module = library("mlflow.tracking", "mlflow")
    entities = library("mlflow.entities", "mlflow")
    make_folder(folder)
    client = client_module.MlflowClient(tracking_uri=f"sqlite:///{folder.resolve() / 'mlflow.db'}")
    experiments: dict[str, str] = {}
    for run in frames.each():
        sweep = run.row["sweep"]
        if sweep not in experiments:
            where = (folder.resolve() / "artifacts").as_uri()
            experiments[sweep] = client.create_experiment(sweep, artifact_location=where)
        tags = {"mlflow.runName": run.name, **{name: str(run.row[name]) for name in ("run_id", "setting_id", "status")}}
        run_id = client.create_run(experiments[sweep], tags=tags).info.run_id
        values = [entities.Metric(name, value, 0, epoch) for epoch, own in run.epochs() for name, value in own.items()]
        last = max((metric.step for metric in values), default=0)
        values += [entities.Metric(f"final_{name}", value, 0, last) for name, value in run.metrics.items()]
        params = [entities.Param(name, str(value)) for name, value in run.knobs.items()]
        client.log_batch(run_id, params=params)
        for start in range(0, len(values), BATCH):
            client.log_batch(run_id, metrics=values[start : start + BATCH])
        client.set_terminated(run_id, "FAILED" if run.row["status"] == "diverged" else "FINISHED")


def to_wandb(frames: Exported, folder: Path) -> None:
    """Offline runs, which `wandb sync FOLDER/wandb/offline-run-*` uploads if you want that."""
    _empty(folder)
    wandb = library("wandb", "wandb")
    make_folder(folder)
    settings = wandb.Settings(console="off", silent=True, save_code=False, disable_git=True)
    times = Counter[str]()  # that a run was written: it may be in several sweeps, and an id is that of one run there
    for run in frames.each():
        run_id = run.row["run_id"]
        times[run_id] += 1
        offline = wandb.init(
            mode="offline",
            dir=str(folder),
            project="ablate",
            group=run.row["sweep"],
            job_type=run.row["setting_id"],
            name=run.name,
            id=run_id if times[run_id] == 1 else f"{run_id}-{times[run_id]}",
            config=dict(run.knobs),
            settings=settings,
        )
        for epoch, values in run.epochs():
            offline.log(values, step=epoch)
        for name, value in {**run.metrics, "status": run.row["status"]}.items():
            offline.summary[name] = value
        offline.finish()


def _empty(folder: Path) -> None:
    """Raise UserError for a folder that holds something: their libraries would mix old runs and new ones."""
    try:
        taken = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise StorageError.of(error, folder) from error
    if taken:
        raise UserError(f"{folder} is there already; delete it, or give another folder with --out FOLDER")


def _file_name(run: Run) -> str:
    """The run's name; of one that is too long for a folder the beginning, and its id."""
    name = run.name.replace(os.sep, "-").replace(" ", "_")
    if len(name.encode()) <= LONGEST:
        return name
    return f"{name.encode()[:LONGEST].decode(errors='ignore')}-{run.row['run_id']}"


TRACKERS: dict[str, Callable[[Exported, Path], None]] = {
    "tensorboard": to_tensorboard,
    "mlflow": to_mlflow,
    "wandb": to_wandb,
}
