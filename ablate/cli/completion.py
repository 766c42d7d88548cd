"""`ablate completion bash|zsh|fish`: a script that completes commands, knobs, choices, presets and folders of results.

The script asks `ablate completion words -- WORD … CURRENT`, which prints what the current word may become, one a line,
and nothing where file names are to be completed.
"""

import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from ablate.cli.command import Command
from ablate.cli.commands import MODULES, command_of, run_command
from ablate.config.errors import UserError, listing

BASH = """\
# completion of ablate for bash; to have it in every shell:  ablate completion bash >> ~/.bashrc
_ablate() {
    local line="${COMP_LINE:0:COMP_POINT}" current part reply
    local -a words
    read -ra words <<< "$line"
    case "$line" in *[[:space:]]) words+=("") ;; esac
    current="${words[${#words[@]}-1]}"
    part="${COMP_WORDS[COMP_CWORD]}"  # bash breaks words at = and : and replaces what stands behind
    case "$part" in "=" | ":") part="" ;; esac
    COMPREPLY=()
    while IFS= read -r reply; do
        COMPREPLY+=("${reply#"${current%"$part"}"}")
    done < <("${words[0]}" completion words -- "${words[@]:1}" 2> /dev/null)
    if [[ ${#COMPREPLY[@]} -gt 0 && "${COMPREPLY[0]}" == *[=:/] ]] && type compopt > /dev/null 2>&1; then
        compopt -o nospace
    fi
}
complete -o default -F _ablate ablate
"""

ZSH = """\
#compdef ablate
# completion of ablate for zsh; to have it in every shell:  ablate completion zsh > "${fpath[1]}/_ablate"
_ablate() {
    local -a found
    found=("${(@f)$("${words[1]}" completion words -- "${(@)words[2,CURRENT]}" 2> /dev/null)}")
    found=(${found:#})
    if (( ! $#found )); then
        _files
        return
    fi
    compadd -Q -S '' -- ${(M)found:#*[=:/]}
    compadd -Q -- ${found:#*[=:/]}
}
if [[ "$funcstack[1]" == _ablate ]]; then
    _ablate "$@"
else
    compdef _ablate ablate
fi
"""

FISH = """\
# completion of ablate for fish; to have it in every shell:
#   ablate completion fish > ~/.config/fish/completions/ablate.fish
function __ablate_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] completion words -- $words[2..-1] "$current" 2> /dev/null)
    if test (count $found) -gt 0
        printf '%s\\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c ablate -f -a '(__ablate_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}

HELP = """\
usage: ablate completion bash|zsh|fish

Prints a script for the shell, with which the Tab key completes commands, knobs, the choices of a knob, presets and
folders of results.

  source <(ablate completion bash)                                     for this shell; or, for every one:
  ablate completion bash >> ~/.bashrc
  ablate completion zsh > "${fpath[1]}/_ablate"
  ablate completion fish > ~/.config/fish/completions/ablate.fish"""

WITH_FILE = ("--config-dir", "-cd")
"""Options of a sweep whose value is a file or a folder."""


def completion(arguments: list[str]) -> int:
    if arguments[:1] == ["words"]:
        words = arguments[1:]
        for word in complete((words[1:] if words[:1] == ["--"] else words) or [""]):
            print(word)
        return 0
    if len(arguments) != 1 or arguments[0] not in SCRIPTS:
        given = " ".join(arguments) or "nothing"
        raise UserError(f"the shell is {given}; choose {listing(SCRIPTS)}: ablate completion bash")
    print(SCRIPTS[arguments[0]], end="")
    return 0


def complete(words: Sequence[str]) -> list[str]:
    """What the last of the words may become; `words` are those behind the program's name."""
    *before, current = words
    found = list(_candidates(before, current))
    return [word for word in dict.fromkeys(found) if word.startswith(current) and word != current]


def _candidates(before: Sequence[str], current: str) -> Iterator[str]:
    if before and before[-1] in WITH_FILE:
        return
    named = bool(before) and before[0] in MODULES
    command = command_of(before[0] if named else "run")
    if before and before[-1] in command.values:
        yield from command.values[before[-1]]
        return
    if not before:
        yield from MODULES
        if not current:
            return
    if current.startswith("-"):
        option, equals, _ = current.partition("=")
        yield from (f"{option}={choice}" for choice in command.values.get(option, ()) if equals)
        yield from command.options
        yield from () if before else ("--version",)
        return
    for kind in command.takes:
        if kind == "knobs":
            yield from experiment_words(before, current)
        elif kind == "options of a search":
            from ablate.cli.search import options

            yield from (f"{name}=" for name in options())
        elif kind == "sweeps":
            yield from sweep_folders(current)
        elif len(before) == named:
            yield kind


def experiment_words(before: Sequence[str], current: str) -> Iterator[str]:
    """`experiment=train.py:` and `experiment=train.py:train`; with one among the words, its knobs and those of any
    sweep; else the knobs of ours. Nothing of a person's own runs."""
    from ablate.experiments.words import OF_SWEEP, functions

    key = "experiment="
    reference = next((word.removeprefix(key) for word in before if word.startswith(key)), None)
    if reference is not None:
        file, _, name = reference.rpartition(":")
        yield from (f"{knob}=" for knob in (*functions(Path(file)).get(name, ()), *OF_SWEEP, "hydra/sweeper"))
    elif not current.startswith(key):
        yield from () if "=" in current else (key,)
        yield from knob_words(current)
    elif ".py:" in current:
        file = current.removeprefix(key).rpartition(":")[0]
        yield from (f"{key}{file}:{name}" for name in functions(Path(file)))
    else:
        head, slash, _ = current.removeprefix(key).rpartition("/")
        for entry in _entries(head + slash):
            if entry.is_dir() and not entry.name.startswith("."):
                yield f"{key}{head}{slash}{entry.name}/"
            elif entry.name.endswith(".py"):
                yield f"{key}{head}{slash}{entry.name}:"


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        return sorted(os.scandir(folder or "."), key=lambda entry: entry.name)
    except OSError:
        return []


def knob_words(current: str) -> Iterator[str]:
    """`num_hiddens=` for `num_h`, `model=gru,lstm` for `model=gru,ls`, `num_hiddens:lr=` for `num_hiddens:l`."""
    from ablate.config.knobs import knobs

    key, equals, value = current.partition("=")
    if not equals:
        so_far = key[: key.rfind(":") + 1]
        yield from (f"{so_far}{name}=" for name in [*knobs(), "hydra/sweeper"])
        return
    so_far = value[: value.rfind(",") + 1]
    yield from (f"{key}={so_far}{choice}" for choice in choices_of(key.lstrip("+")))


def choices_of(name: str) -> list[str]:
    """The values of a knob that can be listed."""
    from ablate.config.choice_files import summaries
    from ablate.config.knobs import GROUPS, knobs
    from ablate.config.overrides import SWEEPERS

    if name in GROUPS:
        return list(summaries(name))
    if name == "hydra/sweeper":
        return list(SWEEPERS)
    knob = knobs().get(name)
    if knob is None:
        return []
    if knob.kind is bool or "bool" in str(knob.kind):
        return ["true", "false"]
    null = ["null"] if knob.optional else []
    return [*map(str, knob.metadata["choices"]), *null] if "choices" in knob.metadata else null


def sweep_folders(current: str) -> list[str]:
    """Folders of results, of the results folder or of the one that is begun to be typed."""
    head, slash, _ = current.rpartition("/")
    root = f"{head}/" if slash else "results/"
    inside = [
        entry.name
        for entry in _entries(root)
        if entry.is_dir() and any(Path(entry.path, name).exists() for name in ("sweep.json", "runs", "search.json"))
    ]
    return [f"{root}{name}" for name in inside]


COMMAND = Command(
    "completion",
    "print a script with which a shell completes commands, knobs and choices",
    completion,
    lambda words: HELP,
    takes=tuple(SCRIPTS),
)

main = partial(run_command, COMMAND)
"""`ablate completion` with these arguments; its exit status."""
