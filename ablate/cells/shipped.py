"""The cells that come with ablate, each family in a file of its own. Loads no torch."""

from ablate.cells.gru import gru
from ablate.cells.lstm import lstm
from ablate.cells.mgu import mgu
from ablate.cells.minimal import mingru, minlstm
from ablate.cells.rnn import rnn
from ablate.config.registry import CELLS

SHIPPED = (rnn, gru, lstm, mgu, mingru, minlstm)
"""In the order in which they are listed."""

for _cell in SHIPPED:
    CELLS.add(_cell)
