"""An optimizer of your own, Lion:   python -m ablate plugins=[docs/examples/optimizer.py] optimizer=lion,adam"""

import ablate


@ablate.optimizer(
    lr=3e-4,
    source="Chen et al. 2023, Symbolic Discovery of Optimization Algorithms, program 1",
    knobs=[ablate.Knob("weight_decay", float, 0.0, "decoupled weight decay", minimum=0, per_replica=True)],
)
def lion(parameters, gradients, mean, *, lr, betas=(0.9, 0.99), weight_decay):
    """Lion: the sign of a gradient averaged over time."""
    direction = mean.lerp(gradients, 1 - betas[0]).sign()
    parameters.sub_(lr * (direction + weight_decay * parameters))
    mean.lerp_(gradients, 1 - betas[1])
