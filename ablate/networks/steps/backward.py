"""The lines of a step back: coefficients of all steps at once, then sums and products with transposed weights.

Axes: R replicas, T steps, B sequences, H hidden units, K blocks of H columns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from torch import Tensor

from ablate.cells.derivative import Derived
from ablate.cells.lowering import End, arguments_of
from ablate.cells.trace import Value
from ablate.networks.pointwise import Writer
from ablate.networks.steps.buffers import Shape, replicas_first, runs
from ablate.networks.steps.forward import Forward
from ablate.networks.steps.sums import Terms


class Backward(Forward):
    """The way forward and, with `training`, back."""

    def __init__(self, d: Derived, shape: Shape, training: bool) -> None:
        super().__init__(d, shape, training)
        if training:
            self._backward()

    def _backward(self) -> None:
        assert self.gradients is not None
        d, made = self.d, self.gradients
        R, T, B, H = self.shape.R, self.shape.T, self.shape.B, self.shape.H
        own_products = [p for p, to in self._block_of_products().items() if to < 0]
        ends: list[End] = [
            *(d.d_products[node] if self.nodes[node].op == "product" else made.ends[k - self._alone()]
              for k, node in enumerate(self.rows)),
            *(d.d_products[product] for product in own_products),
        ]  # fmt: skip
        known = {end.index for end in ends if isinstance(end, Value)}
        apart = [end for end in d.d_vectors.values() if isinstance(end, Value) and not self._follows(end, known)]
        ends += apart
        self.block_of_product = self._block_of_products()
        for place, product in enumerate(own_products):
            self.block_of_product[product] = len(self.rows) + place
        self.D = self.shape.zeros(R, T, B, len(ends) * H)
        self.blocks_back = self.D.view(R, T, B, -1, H)
        for block in range(len(ends)):
            whole = self.blocks_back[:, :, :, block]
            self._name(f"d{block}", list(whole.unbind(1)), whole)
        self._place_gradients()
        jacobian = Writer(self.graph, dict(self.there), self._batch_scratch, self._scalar)
        self.coefficient_of: dict[int, str] = {}
        lines, carry = self._back_lines(ends, jacobian)
        self._jacobian = self._batched(jacobian.lines)
        self._run_backward = self._loop(
            [*lines, *(["if go:", *(f"    {line}" for line in carry)] if carry else [])], True
        )
        self._vectors(ends)

    def _alone(self) -> int:
        """The blocks in front of the shares of the input."""
        return self.from_input.start // self.shape.H

    def _block_of_products(self) -> dict[int, int]:
        return {
            product: block
            for number, group in enumerate(self.d.groups)
            for product, block in zip(group.products, self.targets[number].blocks, strict=True)
        }

    def _follows(self, end: Value, known: set[int]) -> bool:
        """Whether a gradient can be computed after the loop, of the gradients at products and inputs."""
        assert self.gradients is not None
        stack = [end.index]
        while stack:
            index = stack.pop()
            if index in known or index not in self.gradients.linear:
                continue
            if index in self.gradients.leaves:
                return False
            stack += arguments_of(self.nodes[index])
        return True

    def _batch_scratch(self) -> str:
        shape = self.shape
        return self._scratch("v", shape.zeros(shape.R, shape.T, shape.B, shape.H))

    def _place_gradients(self) -> None:
        """Gradients at the states, `g` after a step and `h` before it, and at the output, `o0`."""
        assert self.gradients is not None
        d, made = self.d, self.gradients
        R, T, B, H = self.shape.R, self.shape.T, self.shape.B, self.shape.H
        self.prefilled = self._prefilled()
        self.G: list[list[Tensor]] = []  # of each cluster: before the first step, and after each
        self.d_output = self.shape.zeros(R, 0, B, H)
        for cluster in self.clusters:
            width = len(cluster) * H
            if self.prefilled in [self.number[state] for state in cluster]:
                whole = self.shape.zeros(T + 1, R, B, width)
                slots = list(whole.unbind(0))
                number = self.prefilled
                place = cluster.index(d.states[number])
                self.d_output = replicas_first(whole[1:, ..., place * H : (place + 1) * H])
            else:
                pair = [self.shape.zeros(R, B, width) for _ in range(2)]
                slots = [pair[t % 2] for t in range(T + 1)]
            self.G.append(slots)
            for place, state in enumerate(cluster):
                own = [slot[..., place * H : (place + 1) * H] for slot in slots]
                self._name(f"g{self.number[state]}", own[1:])
                self._name(f"h{self.number[state]}", own[:-1])
        self.source: dict[int, str] = {leaf: f"g{number}" for number, leaf in enumerate(d.d_states)}
        if self.prefilled >= 0:
            self.source[d.d_output] = f"g{self.prefilled}"
        else:
            whole = self.shape.zeros(T, R, B, H)
            self.d_output = replicas_first(whole)
            self.source[d.d_output] = self._name("o0", list(whole.unbind(0)))
        self.written_forms = [*made.pivots.values(), *map(made.terms, made.ends)]

    def _prefilled(self) -> int:
        """The state in whose gradient that of the output is written beforehand, since it is but added; or −1."""
        assert self.gradients is not None
        d, made = self.d, self.gradients
        for number, (leaf, total) in enumerate(zip(d.d_states, d.totals, strict=True)):
            if not isinstance(total, Value) or total.index not in made.pivots:
                continue
            terms = made.pivots[total.index]
            both = (d.d_output, leaf)
            others = [t for index, t in made.pivots.items() if index != total.index]
            others += [made.terms(end) for end in made.ends]
            if all(terms.get(of) == 1.0 for of in both) and not any(of in t for t in others for of in both):
                return number
        return -1

    def _back_lines(self, ends: Sequence[End], jacobian: Writer) -> tuple[list[str], list[str]]:
        """The lines of a step back, and those that carry on to the step before it."""
        assert self.gradients is not None
        d, made = self.d, self.gradients
        forms = [made.terms(end) for end in ends]
        jacobian.plan(
            [
                _unsigned(c, self.there)[0]
                for terms in (*made.pivots.values(), *forms, *made.carried)
                for c in terms.values()
                if isinstance(c, Value)
            ]
        )
        for block, terms in enumerate(forms):
            if (coefficient := self._first_coefficient(terms)) is not None:
                jacobian.homes.setdefault(coefficient.index, f"d{block}")
        lines: list[str] = []
        done = {d.d_output, *d.d_states}
        pivots, blocks = dict(made.pivots), dict(enumerate(forms))
        inner = list(d.backs)
        while True:
            ready = [index for index, terms in pivots.items() if set(terms) <= done]
            for index in ready:
                lines += self._pivot(index, pivots.pop(index), jacobian)
                done.add(index)
            if ready:
                continue
            now = {block: terms for block, terms in blocks.items() if set(terms) <= done}
            lines += self._gradient_blocks(now, jacobian)
            blocks = {block: terms for block, terms in blocks.items() if block not in now}
            number = next(
                (k for k in inner if all(self.block_of_product[p] not in blocks for p in d.groups[k].products)), None
            )
            if number is None:
                assert not pivots
                assert not blocks, "a gradient that depends on itself"
                break
            inner.remove(number)
            lines += self._multiply_back(number)
            done |= set(d.backs[number])
        return lines, self._carry(jacobian) if self.carries else []

    def _coefficient(self, coefficient: Value, jacobian: Writer) -> tuple[str, int]:
        """The name of a coefficient at each step, and its sign."""
        coefficient, sign = _unsigned(coefficient, self.there)
        index = coefficient.index
        if index in self.there:
            return self.there[index], sign
        if index not in self.coefficient_of:
            whole = self.shape.zeros(self.shape.T, self.shape.R, self.shape.B, self.shape.H)
            name = self._name(f"e{index}", list(whole.unbind(0)), replicas_first(whole))
            jacobian.value(coefficient, name)
            self.coefficient_of[index] = name
        return self.coefficient_of[index], sign

    def _accumulated(self, to: str, terms: Iterable[tuple[str, End]], jacobian: Writer, first: bool) -> list[str]:
        """Lines that add Σ coefficient ⊙ source to a tensor, or with `first` that write it there."""
        lines = []
        for source, coefficient in terms:
            if not isinstance(coefficient, Value):
                if not first:
                    alpha = "" if coefficient == 1.0 else f", alpha={coefficient!r}"
                    lines.append(f"{to}.add_({source}{alpha})")
                elif coefficient == 1.0:
                    lines.append(f"{to}.copy_({source})")
                else:
                    lines.append(f"mul({source}, {coefficient!r}, out={to})")
            else:
                name, sign = self._coefficient(coefficient, jacobian)
                if first and sign > 0:
                    lines.append(f"mul({source}, {name}, out={to})")
                elif first:
                    lines.append(f"addcmul({self._scalar(0.0)}, {source}, {name}, value=-1, out={to})")
                else:
                    lines.append(f"{to}.addcmul_({source}, {name}{'' if sign > 0 else ', value=-1'})")
            first = False
        return lines

    def _pivot(self, index: int, terms: Terms, jacobian: Writer) -> list[str]:
        """In the place of a gradient that it is made of, where that is not needed otherwise."""
        rest = dict(terms)
        home = ""
        for leaf in terms:
            used = sum(leaf in form for form in self.written_forms)
            if terms[leaf] == 1.0 and used == 1 and self.source[leaf][0] in "go" and not home:
                home = self.source[leaf]
                del rest[leaf]
        if home:
            rest = {leaf: c for leaf, c in rest.items() if not (self.source[leaf] == home and c == 1.0)}
        name = home or self._step_scratch()
        self.source[index] = name
        return self._accumulated(name, ((self.source[s], c) for s, c in rest.items()), jacobian, first=not home)

    def _gradient_blocks(self, now: dict[int, Terms], jacobian: Writer) -> list[str]:
        """Gradients at pre-activations and products; neighbours that follow from the same one at once."""
        lines: list[str] = []
        together: dict[str, list[int]] = {}
        for block, terms in now.items():
            if not terms:
                continue
            (source, coefficient), *_ = terms.items()
            if (own := self._first_coefficient(terms)) is not None:
                together.setdefault(self.source[source], []).append(block)
                jacobian.value(own, f"d{block}")
            else:
                lines += self._accumulated(f"d{block}", [(self.source[source], coefficient)], jacobian, first=True)
        for name, of_it in together.items():
            lines += [self._scaled(first, length, name) for _, first, length in runs(of_it)]
        for block, terms in now.items():
            others = [(self.source[s], c) for s, c in list(terms.items())[1:]]
            lines += self._accumulated(f"d{block}", others, jacobian, first=False)
        return lines

    def _first_coefficient(self, terms: Terms) -> Value | None:
        """That of the first source, where it is to be computed into the gradient's block before the loop."""
        first = next(iter(terms.values()), None)
        if not isinstance(first, Value) or first.node.op == "neg" or first.index in self.there:
            return None
        return first

    def _scaled(self, first: int, count: int, source: str) -> str:
        """Coefficients in neighbouring blocks times a source."""
        if count == 1:
            return f"d{first}.mul_({source})"
        whole = self.blocks_back[:, :, :, first : first + count]
        name = self._name(f"dd{first}_{count}", list(whole.unbind(1)))
        view = self.views[source]
        wide = f"u{source}"
        self._name(wide, view.unsqueeze(2) if isinstance(view, Tensor) else [v.unsqueeze(2) for v in view])
        return f"{name}.mul_({wide})"

    def _runs_back(self, number: int) -> list[tuple[slice, str, Tensor]]:
        """The products of a group whose gradients lie side by side: columns of the matrix, name, (R, T, B, k·H)."""
        H = self.shape.H
        out = []
        live = list(self.d.groups[number].products)
        for place, first, length in runs([self.block_of_product[p] for p in live]):
            whole = self.D[..., first * H : (first + length) * H]
            name = self._name(f"m{number}_{place}", list(whole.unbind(1)))
            out.append((slice(place * H, (place + length) * H), name, whole))
        return out

    def _multiply_back(self, number: int) -> list[str]:
        """The gradient at the operand of an inner product."""
        H, parts = self.shape.H, len(self.d.groups[number].operand)
        whole = self.shape.zeros(self.shape.R, self.shape.B, parts * H)
        name = self._name(f"q{number}", whole)
        for place, leaf in enumerate(self.d.backs[number]):
            self.source[leaf] = self._name(f"q{number}_{place}", whole[..., place * H : (place + 1) * H])
        return [
            f"{self._product(number, columns, True, k > 0)}({name}, {D})"
            for k, (columns, D, _) in enumerate(self._runs_back(number))
        ]

    def _carry(self, jacobian: Writer) -> list[str]:
        """What reaches the old states: past the recurrent products, and through them."""
        assert self.gradients is not None
        lines: list[str] = []
        H = self.shape.H
        written = set()
        for number, terms in enumerate(self.gradients.carried):
            filled = self._cluster_is_prefilled(number)
            named = [(self.source[source], c) for source, c in terms.items()]
            lines += self._accumulated(f"h{number}", named, jacobian, first=not filled)
            if filled or named:
                written.add(number)
        groups = [k for k, group in enumerate(self.d.groups) if group.recurrent]
        later: list[str] = []
        for k in groups:
            operand = self.d.groups[k].operand
            numbers = [self.number[state] for state in operand]
            places = [self._place(number) for number in numbers]
            alike = len({c for c, _ in places}) == 1 and len(runs([p for _, p in places])) == 1
            if alike:
                cluster, first = places[0]
                at = slice(first * H, (first + len(places)) * H)
                name = self._name(f"j{k}", [slot[..., at] for slot in self.G[cluster][:-1]])
                fresh = not written & set(numbers)
                if not fresh:
                    lines += [f"h{number}.zero_()" for number in numbers if number not in written]
                written |= set(numbers)
            else:
                whole = self.shape.zeros(self.shape.R, self.shape.B, len(operand) * H)
                name, fresh = self._name(f"j{k}", whole), True
                for place, number in enumerate(numbers):
                    part = self._name(f"j{k}_{place}", whole[..., place * H : (place + 1) * H])
                    later.append(f"h{number}.{'add_' if number in written else 'copy_'}({part})")
                    written.add(number)
            for columns, D, _ in self._runs_back(k):
                lines.append(f"{self._product(k, columns, True, not fresh)}({name}, {D})")
                fresh = False
            lines += later
            later = []
        missing = [number for number in range(len(self.d.states)) if number not in written]
        return [*(f"h{number}.zero_()" for number in missing), *lines]

    def _cluster_is_prefilled(self, number: int) -> bool:
        return self.prefilled >= 0 and self._place(number)[0] == self._place(self.prefilled)[0]

    def _vectors(self, ends: Sequence[End]) -> None:
        """Gradients of vectors: sums over steps and sequences, after the loop."""
        there = dict(self.there) | {
            e.index: f"d{k}" for k, e in reversed(list(enumerate(ends))) if isinstance(e, Value)
        }
        writer = Writer(self.graph, there, self._batch_scratch, self._scalar)
        given = [end for end in self.d.d_vectors.values() if isinstance(end, Value)]
        writer.plan(given)
        self.vector_gradient: list[str | None] = [
            writer.value(end) if isinstance(end, Value) else None for end in self.d.d_vectors.values()
        ]
        self._sum_vectors = self._batched(writer.lines)


def _unsigned(coefficient: Value, there: Collection[int]) -> tuple[Value, int]:
    """What is computed of a coefficient, and its sign, which goes into the sum; what is `there` is taken as it is."""
    of = coefficient.node.of[0] if coefficient.node.op == "neg" and coefficient.index not in there else None
    if not isinstance(of, Value):
        return coefficient, 1
    value, sign = _unsigned(of, there)
    return value, -sign
