"""The tasks that come with ablate, and the metrics that were made for them. Loads no torch."""

import math
from collections.abc import Mapping
from typing import Any

from ablate.config.metrics import METRICS, NOTHING_HELD_OUT, OF_TEST, Metric
from ablate.config.registry import FIRST_TASK, TASKS, Knob, task_name
from ablate.tasks.facts import HeldOut, TaskFacts, Words

HELD_OUT_WINDOW = 35
"""Tokens of a sequence of held-out text, where a network starts anew with each; in training it is `num_steps`."""

HELD_OUT_MASKED = 0.15
"""The share of the held-out tokens that is masked for task=fill_in, whatever `task.masked` it is trained on."""


AFTER_THE_TRAINING_TEXT = ("corpus_sha256", "unit", "max_tokens", "val_tokens", "test_tokens")
"""What decides which text is held out: it begins where the training text ends."""


def text_rule(config: Mapping[str, Any], of_old: bool = False) -> str | None:
    """How the held-out text is read; None where there is none.

    A network that only reads forwards carries its state along the whole text, which no knob of the training changes.
    """
    if (config.get("val_tokens") or 0) < 2:
        return None
    if not config.get("model", {}).get("bidirectional", False):
        return "streams, state carried over"
    return _windows(config, of_old)


def masked_rule(config: Mapping[str, Any], of_old: bool = False) -> str | None:
    """The same of a text with masked tokens; of old runs as many of them as were masked in training."""
    if (config.get("val_tokens") or 0) < 2:
        return None
    masked = config.get("task", {}).get("masked", HELD_OUT_MASKED) if of_old else HELD_OUT_MASKED
    return f"{_windows(config, of_old)}, {masked:g} of them masked"


def _windows(config: Mapping[str, Any], of_old: bool) -> str:
    window = config.get("num_steps", HELD_OUT_WINDOW) if of_old else HELD_OUT_WINDOW
    return f"windows of {min(window, config['val_tokens'])} tokens"


def bits_per_character(record: Mapping[str, Any]) -> float | None:
    """The held-out loss in bits, of all scored tokens, by the characters of the text that these cover; or None.

    The text is that which is cut into tokens (`ablate.data.corpora.Corpus.covered`): white space between words counts,
    what cleaning took away does not, neither as bits nor as characters. So a vocabulary of words and one of characters
    can be compared on the same text under the same cleaning. Of words the white space itself costs no bits: with
    data.cleaning=keep, where it can be a space or a line end, that favours them.

    Of characters it is the logarithm of the perplexity to base 2; of words it follows from what the run counted, and
    there is none for runs from before that. There is none of a network that sees later tokens, nor where the held-out
    text has tokens that the training text lacks, whose <unk> is no code of them.
    """
    return _bits(record, "val")


def bits_per_character_of_test(record: Mapping[str, Any]) -> float | None:
    """The same of the test text."""
    return _bits(record, "test")


def _bits(record: Mapping[str, Any], part: str) -> float | None:
    """Of the part of the text that is called so in metrics and counts."""
    perplexity = record["metrics"].get(f"{part}_perplexity")
    if perplexity is None or record.get("sees_future"):
        return None
    config = record["config"]  # of a packed run made when it is asked for
    if task_name(config) != FIRST_TASK:
        return None
    if config["model"].get("bidirectional") or record["counts"].get(f"{part}_unknown"):
        return None
    characters, scored = (record["counts"].get(f"{part}_{name}") for name in ("characters", "scored"))
    if characters and scored:
        return math.log2(perplexity) * float(scored) / float(characters)
    return math.log2(perplexity) if record["corpus"].get("unit") == "char" else None


for _metric in (
    Metric(
        "bits_per_character",
        "held-out bits per character",
        "lower",
        unit="bits",
        least=0.0,
        logs=False,
        heading="bits/character",
        held_out=True,
        tested_as="test_bits_per_character",
        explained="Bits/character: the held-out loss in bits by the characters of the text that the tokens cover, so "
        "that vocabularies can be compared.",
        unmeasured=NOTHING_HELD_OUT,
        of=bits_per_character,
        tasks=(FIRST_TASK,),
    ),
    Metric(
        "test_bits_per_character",
        "test bits per character",
        "lower",
        unit="bits",
        least=0.0,
        logs=False,
        heading="test bits/character",
        meaning="the same of the test data",
        of=bits_per_character_of_test,
        tasks=(FIRST_TASK,),
        **OF_TEST,
    ),
    Metric(
        "bleu",
        "held-out BLEU",
        "higher",
        top=100.0,
        heading="BLEU",
        axis="BLEU of held-out pairs",
        ends=(5.0, 10.0, 20.0, 50.0),
        held_out=True,
        explained="BLEU: of the held-out pairs as a corpus, from 0 to 100.",
        unmeasured="no translation was held out (task.val_pairs=0)",
    ),
    Metric(
        "accuracy_long",
        "accuracy beyond the training length",
        "higher",
        top=1.0,
        heading="beyond",
        held_out=True,
        meaning="the share of right answers at steps after the `num_steps` that are trained on",
    ),
    Metric(
        "course_bleu",
        "course BLEU",
        "higher",
        top=1.0,
        axis="course BLEU, sentences shown",
        of_course=True,
        explained="Course BLEU: the mean of BLEU(2) over the sample sentences as the course defines it, from 0 to 1; "
        "not comparable with the BLEU of a corpus.",
    ),
    Metric(
        "course_loss",
        "course loss",
        "lower",
        ranked=False,
        of_course=True,
        explained="Course loss: the cross-entropy per target word divided by num_steps, as the course reports it; the "
        "logarithm of our perplexity is the cross-entropy per word itself.",
    ),
):
    METRICS.found[_metric.name] = _metric  # `add` asks for the columns of all that is shipped, which are not known yet

OF_SEQUENCES = Words(
    scored="of the answers",
    answers="on held-out sequences",
    data="sequences",
    plural=True,
    epoch="the last epoch, whose sequences were new",
    held_out="on the same held-out sequences for all",
    read="sequences",
    read_more="some saw more of them",
    sample="a sequence, and what it answered.",
)
"""Of sequences that are generated."""

TASKS.add(
    TaskFacts(
        FIRST_TASK,
        "the next token of a text, from the ones before it",
        "ablate.tasks.text:LanguageModelling",
        reads_text=True,
        held_out=HeldOut("val_tokens", 2, AFTER_THE_TRAINING_TEXT, "test_tokens"),
        evaluation=text_rule,
        words=Words(
            samples="Generated text",
            sample="what was given, and what it wrote after that.",
            continues=True,
            unpublished="There is no published number for any setting of this sweep.",
        ),
        sections=("ablate.report.baselines:BASELINES", "ablate.report.splits:SPLITS"),
    )
)
TASKS.add(
    TaskFacts(
        "fill_in",
        "masked tokens of a text, from what stands around them",
        "ablate.tasks.text:FillIn",
        knobs=(Knob("masked", float, 0.15, "the share of the tokens that is masked in training", above=0, below=1),),
        metrics=("accuracy", "test_accuracy"),
        main="accuracy",
        drawn=("accuracy",),
        reads_text=True,
        held_out=HeldOut("val_tokens", 2, AFTER_THE_TRAINING_TEXT, "test_tokens"),
        evaluation=masked_rule,
        explained={
            "accuracy": "Accuracy: the share of masked {unit}s of the held-out text that the network ranks first; that "
            f"text is read in windows of {HELD_OUT_WINDOW}, {100 * HELD_OUT_MASKED:g} % masked, whatever was trained "
            "on."
        },
        words=Words(
            scored="of the masked {unit}s",
            held_out="in the text {where}",
            samples="Filled-in text",
            sample="every fourth token was masked; in brackets stands what it put there.",
        ),
        sections=("ablate.report.splits:SPLITS",),
    )
)
TASKS.add(
    TaskFacts(
        "memory",
        "generated sequences with a known answer, of length num_steps",
        "ablate.tasks.memory:Memory",
        knobs=(
            Knob("symbols", int, 4, "different symbols that may have to be remembered", minimum=2),
            Knob("sequences", int, 320, "training sequences per epoch", minimum=1),
        ),
        metrics=("accuracy",),
        main="accuracy",
        has_prefixes=False,
        made_anew=True,
        many_questions=True,
        amount="sequences",
        explained={
            "accuracy": "Accuracy: the share of right answers on 512 held-out sequences, the same for all runs.",
        },
        words=OF_SEQUENCES,
        sections=("ablate.report.lengths:BY_LENGTH",),
    )
)
TASKS.add(
    TaskFacts(
        "state_tracking",
        "the running product of a group's elements, on longer sequences than the num_steps that are trained on",
        "ablate.tasks.state_tracking:StateTracking",
        knobs=(
            Knob("sequences", int, 640, "training sequences per epoch", minimum=1),
            Knob("long", int, 256, "elements of the sequences on which the trained network is tried", minimum=2),
        ),
        metrics=("accuracy",),
        final_metrics=("accuracy_long",),
        main="accuracy_long",
        has_prefixes=False,
        made_anew=True,
        many_questions=True,
        amount="sequences",
        explained={
            "accuracy": "Accuracy: the share of right products, over all steps of 512 held-out sequences of the "
            "length that was trained on, the same for all runs.",
            "accuracy_long": "Beyond: the share of right products at the steps after num_steps, until task.long, of "
            "128 held-out sequences: one that only recalls what it has seen guesses there.",
        },
        words=OF_SEQUENCES,
    )
)
TASKS.add(
    TaskFacts(
        "classification",
        "the class of a sequence of numbers, asked at its last step",
        "ablate.tasks.classification:Classification",
        knobs=(
            Knob(
                "val_sequences",
                int,
                0,
                "training sequences that are kept back to choose by (the best epoch, a search), so that the test set "
                "alone reports; 0: the test set is what is held out",
                minimum=0,
                absent=0,
            ),
        ),
        metrics=("accuracy", "test_accuracy"),
        main="accuracy",
        drawn=("accuracy",),
        real_inputs=True,
        has_prefixes=False,
        many_questions=True,
        held_out=HeldOut(decided_by=("corpus_sha256", "val_sequences"), test_knob="task.val_sequences"),
        explained={
            "accuracy": "Accuracy: the share of held-out sequences that get their class right. These are the data's "
            "own test set, unless task.val_sequences keeps others back to choose by.",
        },
        words=Words(
            scored="of the classes",
            answers="on held-out sequences",
            data="sequences",
            plural=True,
            held_out="on held-out sequences",
            read="sequences",
            read_more="some saw more of them, or saw them more often",
            unpublished="No setting of this sweep has the settings of a published one: nothing to lay it beside.",
        ),
        sections=("ablate.report.splits:SPLITS",),
    )
)
TASKS.add(
    TaskFacts(
        "translation",
        "sentences of one language to another: an encoder–decoder with teacher forcing",
        "ablate.tasks.translation:Translation",
        knobs=(
            Knob("pairs", int | None, 601, "sentence pairs to train on; null: all but val_pairs", minimum=1),
            Knob("val_pairs", int, 0, "pairs after them, with other source sentences, held out", minimum=0),
            Knob("embed", int, 32, "width of the word embeddings", minimum=1),
            Knob(
                "context",
                str,
                "constant",
                "what each step of the decoder also reads: the encoder's last state, or as published in prediction the "
                "decoder's own",
                choices=("constant", "as-published"),
            ),
            Knob(
                "attention",
                bool,
                False,
                "whether each step reads the encoder's states instead, weighted by their dot product with its own",
            ),
        ),
        metrics=("accuracy",),
        final_metrics=("bleu", "course_bleu", "course_loss"),
        main="bleu",
        drawn=("bleu", "course_bleu"),
        held_out=HeldOut("task.val_pairs", decided_by=("corpus_sha256", "pairs", "val_pairs", "num_steps")),
        network="encoder-decoder",
        explained={
            "accuracy": "Accuracy: the share of target words that are ranked first when the ones before them are "
            "given; of held-out pairs or, where none are held out, of those trained on.",
        },
        words=Words(
            scored="of target words",
            data="pairs",
            plural=True,
            samples="Translations",
            sample="a sentence, greedily translated.",
            unpublished="No setting of this sweep has the settings of the published translation: nothing to lay it "
            "beside.",
        ),
        sections=("ablate.report.course_translation:COURSE",),
    )
)
