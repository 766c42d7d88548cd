"""What a path is asked for: knobs with two values change, from the baseline's to the target's; the others stay."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser

from ablate.config import presets
from ablate.config.composing import compose
from ablate.config.errors import UserError, counted
from ablate.config.grid import Axis
from ablate.config.overrides import Override, for_hydra
from ablate.config.quoting import unquote
from ablate.config.schema import Config
from ablate.sweeping.hydra_jobs import check_values
from ablate.sweeping.naming import decides


@dataclass(frozen=True)
class Change:
    """One knob: its override in the baseline and in the target."""

    before: str
    after: str


@dataclass(frozen=True)
class Question:
    """Overrides that all settings share, and the changes in the order typed."""

    fixed: tuple[str, ...]
    changes: tuple[Change, ...]

    def overrides(self, made: Collection[int]) -> list[str]:
        """The overrides of the setting in which these changes (by their number) are made, and no others."""
        own = [change.after if k in made else change.before for k, change in enumerate(self.changes)]
        return [*self.fixed, *own]

    @property
    def given(self) -> tuple[str, ...]:
        """The knobs that are set, changed or not."""
        return presets.given_knobs([*self.fixed, *(change.after for change in self.changes)])

    def config(self, made: Collection[int]) -> Config:
        """Raises ConfigError where these values do not go together."""
        return compose(self.overrides(made))


def read(overrides: Sequence[str]) -> Question:
    """The question that `model=rnn,gru lr=1,0.5 seeds=10` asks. Raises UserError for what asks none.

    Knobs that change together, `num_hiddens:lr=32:1,64:0.5`, are one change.
    """
    together = [word for word in overrides if Override.read(word).is_zipped]
    if any(Override.read(word).key == "experiment" for word in overrides):
        raise UserError(
            "a path compares networks of ours; an experiment is swept, or searched: ablate search experiment=…"
        )
    for word in overrides:
        if (key := Override.read(word).key).startswith(("hydra/", "hydra.")) and word != "hydra/launcher=local":
            raise UserError(f"{word}: a path is trained by this machine, round by round; leave {key} out")
    for_hydra(overrides)  # nothing is given twice, among them or besides
    overrides = for_hydra([word for word in overrides if word not in together])
    fixed: list[str] = []
    changes: list[Change] = []
    for word in together:
        rows = Axis.zipped(word).rows
        if len(rows) != 2:
            raise UserError(
                f"{word} has {counted(len(rows), 'value')}; a path goes from the first to the second: give two, or one "
                "knob alone"
            )
        changes.append(Change(*map(as_one_word, rows)))
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        check_values(override)
        key = override.key_or_group.lstrip("+")
        if key == "sweeps":
            raise UserError(f"{override.input_line}: a path has no preset; give each knob its two values")
        values = [value for [value] in Axis.of(override).rows]
        if len(values) == 1:
            fixed += values
        elif len(values) > 2:
            raise UserError(
                f"{override.input_line} has {len(values)} values; a path goes from the first to the second: give two"
            )
        elif not decides(key):
            raise UserError(f"{override.input_line}: {key} does not decide an outcome, so a path cannot change it")
        else:
            changes.append(Change(*values))
    if not changes:
        raise UserError("nothing changes; give at least one knob two values, baseline and target: model=rnn,gru")
    return Question(tuple(map(typed, fixed)), tuple(Change(typed(one.before), typed(one.after)) for one in changes))


def as_one_word(row: Sequence[str]) -> str:
    """Overrides that change together: `num_hiddens:lr=32:1`."""
    words = [Override.read(word) for word in row]
    return f"{':'.join(one.sign + one.key for one in words)}={':'.join(one.value or '' for one in words)}"


def typed(word: str) -> str:
    """An override as a person types it: without the quotes that Hydra needs, where the text is one without them."""
    override = Override.read(word)
    if override.is_zipped:
        return word
    text = unquote(override.value or "")
    value = override.value if "," in text else text
    return f"{override.sign.replace('++', '+')}{override.key}={value}"
