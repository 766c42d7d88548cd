"""Two experiments without a recurrent network: one in plain Python, and a model of scikit-learn.

ablate run experiment=docs/examples/experiment.py:hill lr=0.01,0.1 momentum=0.0,0.9 seeds=6
ablate run experiment=docs/examples/experiment.py:forest trees=5,50 seeds=6
"""

import random
from collections.abc import Callable
from typing import Literal

import ablate


@ablate.experiment(metrics={"distance": "lower"})
def hill(
    lr: float = 0.1,
    momentum: float = 0.0,
    steps: int = 30,
    noise: Literal["normal", "uniform"] = "normal",
    *,
    seed: int,
    report: Callable[..., None],
) -> dict[str, float]:
    """Gradient descent to the minimum of x² from a random start, with noisy gradients."""
    draw = random.Random(seed)
    x, speed = draw.gauss(5, 1), 0.0
    for step in range(1, steps + 1):
        error = draw.gauss(0, 0.1) if noise == "normal" else draw.uniform(-0.2, 0.2)
        speed = momentum * speed - lr * (2 * x + error)
        x += speed
        report(step, distance=abs(x))
    return {"distance": abs(x)}


@ablate.experiment
def forest(
    trees: int = 20, depth: int | None = None, criterion: Literal["gini", "entropy"] = "gini", *, seed: int
) -> dict[str, float]:
    """A random forest on the digits that come with scikit-learn."""
    from sklearn.datasets import load_digits
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import train_test_split

    X, y = load_digits(return_X_y=True)
    train_X, test_X, train_y, test_y = train_test_split(X, y, test_size=0.5, random_state=seed)
    model = RandomForestClassifier(trees, max_depth=depth, criterion=criterion, random_state=seed)
    model.fit(train_X, train_y)
    return {"accuracy": model.score(test_X, test_y)}
