"""Gradients as sums of coefficients times what comes in: of the graph alone, without sizes."""

from __future__ import annotations

from collections import Counter

from ablate.cells.affine import affine
from ablate.cells.derivative import Derived
from ablate.cells.lowering import End, arguments_of
from ablate.cells.trace import Graph, Value

Terms = dict[int, End]
"""Source → coefficient, of a gradient Σ coefficient ⊙ source."""


class Gradients:
    """What the way back computes: sums of coefficients times sources. Of the graph alone, without sizes."""

    def __init__(self, d: Derived, graph: Graph) -> None:
        self.d, self.graph = d, graph
        nodes = graph.nodes
        self.ends = [*d.d_inputs.values(), *d.d_products.values(), *d.d_vectors.values(), *d.carried]
        order = [v.index for v in graph.reached([e for e in self.ends if isinstance(e, Value)])]
        self.leaves = [d.d_output, *d.d_states, *(leaf for leaves in d.backs.values() for leaf in leaves)]
        linear = set(self.leaves)
        for index in order:
            if not linear.isdisjoint(arguments_of(nodes[index])):
                linear.add(index)
        self.linear = linear
        users = Counter(of for i in order if i in linear for of in arguments_of(nodes[i]) if of in linear)
        users.update(end.index for end in self.ends if isinstance(end, Value) and end.index in linear)
        totals = {end.index for end in d.totals if isinstance(end, Value)} - set(self.leaves)
        self.pivots: dict[int, Terms] = {}
        for index in order:
            if index in linear and index not in self.leaves and (users[index] > 1 or index in totals):
                terms = self._terms(Value(graph, index))
                if len(terms) > 1 or index in totals:
                    self.pivots[index] = terms
        self.carried = [self.terms(end) for end in d.carried]

    def terms(self, end: End) -> Terms:
        """Of an end: what it is made of, or it alone where it is a source."""
        if not isinstance(end, Value) or end.index not in self.linear:
            assert end == 0.0, "a gradient is linear in what comes in"
            return {}
        if end.index in self.pivots or end.index in self.leaves:
            return {end.index: 1.0}
        return self._terms(end)

    def _terms(self, value: Value) -> Terms:
        sums = affine(self.graph, value, [*self.leaves, *self.pivots])
        assert sums is not None, "a gradient is linear in what comes in"
        return {source: coefficient for source, coefficient in sums[0].items() if coefficient != 0.0}
