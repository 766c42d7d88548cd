"""A torch script that knows nothing of ablate, and runs by itself: python docs/examples/script.py

ablate run experiment=docs/examples/script.py:main lr=0.01,0.1 hidden=4,16 seeds=6
"""

import torch
from torch import nn


def main(lr=0.1, hidden=16, epochs=20, seed=0):
    """A network of two layers learns a sine."""
    torch.manual_seed(seed)
    x = torch.linspace(-3, 3, 64).unsqueeze(1)
    y = torch.sin(x)
    model = nn.Sequential(nn.Linear(1, hidden), nn.Tanh(), nn.Linear(hidden, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    for _ in range(epochs):
        loss = nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {"loss": loss.item()}


if __name__ == "__main__":
    print(main())
