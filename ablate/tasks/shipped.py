"""The tasks that come with ablate. Loads no torch."""

from ablate.config.registry import FIRST_TASK, TASKS, Knob
from ablate.tasks.facts import Task

TASKS.add(
    Task(
        FIRST_TASK,
        "The next token of a text, from the ones before it",
        "ablate.tasks.text:LanguageModelling",
        reads_text=True,
    )
)
TASKS.add(
    Task(
        "fill_in",
        "Masked tokens of a text, from what stands around them",
        "ablate.tasks.text:FillIn",
        knobs=(
            Knob(
                "masked",
                float,
                0.15,
                "share of the tokens that is masked in training (of held-out text it is always 0.15)",
                above=0,
                below=1,
            ),
        ),
        reads_text=True,
    )
)
TASKS.add(
    Task(
        "memory",
        "What gates are for: sequences with a known answer, made by rule, of length num_steps",
        "ablate.tasks.memory:Memory",
        knobs=(
            Knob("symbols", int, 4, "different symbols that may have to be remembered", minimum=2),
            Knob("sequences", int, 320, "training sequences per epoch", minimum=1),
        ),
        has_prefixes=False,
    )
)
TASKS.add(
    Task(
        "translation",
        "Sentences of one language to another: an encoder–decoder with teacher forcing",
        "ablate.tasks.translation:Translation",
        knobs=(
            Knob(
                "pairs",
                int | None,
                601,
                'sentence pairs to train on (the course\'s "first 600" are 601); null: all but val_pairs',
                minimum=1,
            ),
            Knob("val_pairs", int, 0, "pairs after them, with other source sentences, held out", minimum=0),
            Knob("embed", int, 32, "width of the word embeddings", minimum=1),
            Knob(
                "context",
                str,
                "constant",
                "what each step of the decoder also reads: constant (the encoder's last state), as-published (in "
                "prediction the decoder's own)",
                choices=("constant", "as-published"),
            ),
            Knob(
                "attention",
                bool,
                False,
                "true: each step reads the encoder's states instead, weighted by their dot product with the decoder's",
            ),
        ),
    )
)
