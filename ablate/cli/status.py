"""`ablate status [results/NAME …]`: what each sweep's folder holds, what failed, and whether it is in use."""

from functools import partial
from pathlib import Path
from typing import Any

from ablate.cli.command import Parser, by_parser
from ablate.cli.commands import run_command
from ablate.cli.entry import tell
from ablate.config.errors import StorageError, counted

JSON = """\
--json prints one JSON object on standard output: {"sweeps": […]}, and for each
  folder, commands     where it is, and the commands that made it
  settings, runs       numbers of those that have finished; diverged: how many of the runs have diverged
  missing              runs that the commands ask for and that have not finished; null if that is not known
  begun                runs with a checkpoint, from which the same command continues
  failed, damaged      the settings that failed and have not been run since, each with its name and error; the files
                       that cannot be read as records
  in_use               whether an ablate is working on it now; null if that is not known, because the file system has
                       no locks or you may not open the lock of the folder
  jobs                 jobs of a cluster that have not been collected: for each its id, its state (waiting, running,
                       done, or how else it has ended), its host, the runs that it was given, those it has trained, and
                       the seconds since it was last heard of"""


def parser() -> Parser:
    found = Parser("status", __doc__, epilog=JSON)
    found.add_argument(
        "sweep", nargs="*", type=Path, help="a folder below results/ (default: all of those below results/)"
    )
    found.add_argument("--json", action="store_true", help="print it as JSON")
    return found


def status(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)

    from ablate.cli.as_json import print_json
    from ablate.records.files import entries, present
    from ablate.records.jobs import jobs_dir
    from ablate.records.places import is_sweep, manifest_path, no_sweep

    def is_known(folder: Path) -> bool:
        begun = present(jobs_dir(folder)) == "folder" or present(manifest_path(folder)) == "file"
        return begun or is_sweep(folder)

    results = Path("results")
    folders = options.sweep or sorted(filter(is_known, entries(results)))
    for folder in folders:
        if not is_known(folder):
            raise no_sweep(folder)
    found = list(map(of_sweep, folders))
    if options.json:
        print_json({"sweeps": found})
        return 0
    if not found:
        tell(f"no sweep in {results}/")
    for one in found:
        tell(line_of(one))
        for job in one["jobs"]:
            tell(f"  {line_of_job(job)}")
        for failure in one["failed"]:
            tell(f"  failed: {failure['name']}: {failure['error']}")
    return 0


def of_sweep(folder: Path) -> dict[str, Any]:
    """What a folder holds."""
    from ablate.records import results
    from ablate.records.failures import failures
    from ablate.records.manifest import damaged_manifest, load_manifest
    from ablate.records.places import begun
    from ablate.records.planned import missing
    from ablate.records.reading import RecordError

    found = list(results.records(folder))
    records = [record for record in found if not isinstance(record, RecordError)]
    damaged = [record for record in found if isinstance(record, RecordError)]
    failed = [{"setting": one.setting_id, "name": one.name, "error": one.error} for one in failures(folder, records)]
    try:
        commands = load_manifest(folder)["commands"]
    except RecordError:
        commands = []
    damaged += [error] if (error := damaged_manifest(folder)) else []
    return {
        "folder": str(folder),
        "commands": commands,
        "settings": len({record["setting_id"] for record in records}),
        "runs": len(records),
        "diverged": sum(record["status"] == "diverged" for record in records),
        "missing": missing(folder, records),
        "begun": begun(folder),
        "failed": failed,
        "damaged": list(map(str, damaged)),
        "in_use": in_use(folder),
        "jobs": jobs_of(folder),
    }


def jobs_of(folder: Path) -> list[dict[str, Any]]:
    """The jobs of a cluster that work for a sweep, or have ended and are not collected yet."""
    from ablate.records.jobs import batches
    from ablate.sweeping.launching.following import fate, known_states, runs_of_order

    found = []
    for batch in batches(folder):
        known = known_states(batch)
        for job in range(batch.jobs):
            state = batch.state(job)
            found.append(
                {
                    "id": batch.id_of(job),
                    "launcher": batch.launcher,
                    "state": fate(batch, job, state, known, state.silent_s),
                    "host": state.host,
                    "runs": len(runs_of_order(batch, job)),
                    "trained": state.trained,
                    "silent_s": round(state.silent_s) if state.begun else None,
                }
            )
    return found


def line_of_job(job: dict[str, Any]) -> str:
    """`12_0 on node1: running, 2 of 6 runs trained, heard of 3 s ago`"""
    at = f" on {job['host']}" if job["host"] else ""
    heard = "" if job["silent_s"] is None else f", heard of {job['silent_s']} s ago"
    trained = f", {job['trained']} of {counted(job['runs'], 'run')} trained" if job["runs"] else ""
    return f"{job['id']}{at}: {job['state']}{trained}{heard}"


def in_use(folder: Path) -> bool | None:
    """Whether another program holds a sweep's folder; None where that cannot be known."""
    from ablate.records.locks import LOCK, InUse, held

    if not (folder / LOCK).exists():
        return False
    try:
        with held(folder / LOCK, "", say=lambda line: None) as locked:
            return False if locked else None
    except InUse:
        return True
    except StorageError:  # of somebody who lets others read alone
        return None


def line_of(found: dict[str, Any]) -> str:
    parts = [f"{counted(found['settings'], 'setting')}, {counted(found['runs'], 'run')}"]
    parts += [f"{found['missing']} missing"] * bool(found["missing"])
    parts += [f"{found['diverged']} diverged"] * bool(found["diverged"])
    parts += [f"{found['begun']} begun"] * bool(found["begun"])
    parts += [f"{len(found['failed'])} failed"] * bool(found["failed"])
    parts += [f"{len(found['damaged'])} damaged"] * bool(found["damaged"])
    parts += ["in use"] * bool(found["in_use"])
    parts += [f"{counted(len(found['jobs']), 'job')} of a cluster"] * bool(found["jobs"])
    return f"{found['folder']}: {', '.join(parts)}"


COMMAND = by_parser("status", "say what the folders of sweeps hold, what failed, and which are in use", status, parser)

main = partial(run_command, COMMAND)
"""`ablate status` with these arguments; its exit status."""
