"""The encoder–decoders against plain torch.nn ones and loops, in float64: logits, gradients, decoding. CPU, 5 s.

The plain one stacks its layers inside one nn.GRU; weights are copied into it by name.
"""

import math
from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from ablate.config.registry import CELLS
from ablate.config.schema import Config
from ablate.engines.autograd import AutogradProgram
from ablate.engines.cohort.stacked import StackedCohort
from ablate.networks.dropout import dropout_mask
from ablate.networks.parameters import Sizes, count, initial
from ablate.networks.translation_model import EagerTranslator, LibraryTranslator
from ablate.networks.translator import BOS, EOS, PAD, Translator

SIZES = Sizes(9, 8)
E, H, T, B = 3, 4, 5, 6
EQUAL = {"rtol": 0.0, "atol": 1e-12}
SMALL = ("task=translation", f"num_hiddens={H}", f"task.embed={E}", f"num_steps={T}", f"batch_size={B}", "dropout=0")
TEXTBOOK = ("rnn", "gru", "lstm")


@pytest.fixture
def config_of(compose: Callable[..., Config]) -> Callable[..., Config]:
    return lambda *overrides: compose(*SMALL, *overrides)


def weights(config: Config, seed: int = 0) -> dict[str, Tensor]:
    """Initial weights, twice as large as usual, so that no sentence is like the other."""
    drawn = initial(config, SIZES, Generator().manual_seed(seed), torch.float64)
    return {name: 2 * value for name, value in drawn.items()}


def sentences(seed: int = 1) -> tuple[Tensor, Tensor]:
    """Sources and targets of every length: inputs (2, T, B) and targets (T, B) with −1 behind the end."""
    generator = Generator().manual_seed(seed)
    length = 1 + torch.arange(B) % T
    ended = torch.arange(T).unsqueeze(1) >= length
    source = torch.randint(EOS + 1, SIZES.source, (T, B), generator=generator).masked_fill(ended, PAD)
    target = torch.randint(EOS + 1, SIZES.target, (T, B), generator=generator)
    inputs = torch.cat([torch.full((1, B), BOS), target[:-1]])
    return torch.stack([source, inputs]), target.masked_fill(ended, -1)


class Plain(nn.Module):
    """An encoder–decoder as a course writes it: modules of torch.nn with all their layers."""

    def __init__(self, config: Config, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        cell = config.model.cell
        module = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[cell]
        self.source, self.target = nn.Embedding(SIZES.source, E), nn.Embedding(SIZES.target, E)
        self.encoder, self.decoder = module(E, H, config.layers), module(E + H, H, config.layers)
        self.output = nn.Linear(H, SIZES.target)
        self.double()
        with torch.no_grad():
            self.source.weight.copy_(parameters["encoder.embedding"])
            self.target.weight.copy_(parameters["decoder.embedding"])
            self.output.weight.copy_(parameters["output.W"].T)
            self.output.bias.copy_(parameters["output.b"])
            for part, stack in (("encoder", self.encoder), ("decoder", self.decoder)):
                for layer in range(config.layers):
                    for ours, theirs in (
                        ("W_x", "weight_ih"),
                        ("W_h", "weight_hh"),
                        ("b_x", "bias_ih"),
                        ("b_h", "bias_hh"),
                    ):
                        blocks = [parameters[f"{part}.{layer}.{gate}.{ours}"] for gate in CELLS[cell].preactivations]
                        getattr(stack, f"{theirs}_l{layer}").copy_(torch.cat([block.t() for block in blocks]))

    def forward(self, tokens: Tensor) -> Tensor:
        _, state = self.encoder(self.source(tokens[0]))
        return self.decode(tokens[1], state, top(state))[0]

    def decode(self, inputs: Tensor, state, context: Tensor):
        X = torch.cat([self.target(inputs), context.repeat(len(inputs), 1, 1)], -1)
        outputs, state = self.decoder(X, state)
        return self.output(outputs), state

    @torch.no_grad()
    def greedy(self, source: Tensor, own_context: bool) -> list[int]:
        """One sentence (T,), word by word, up to `<eos>`."""
        _, state = self.encoder(self.source(source.unsqueeze(1)))
        first, words = top(state), [BOS]
        for _ in range(T):
            context = top(state) if own_context else first
            logits, state = self.decode(torch.tensor([[words[-1]]]), state, context)
            if int(logits.argmax()) == EOS:
                break
            words.append(int(logits.argmax()))
        return words[1:]


def top(state) -> Tensor:
    """The hidden state (1, B, H) of the top layer."""
    return (state[0] if isinstance(state, tuple) else state)[-1:]


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("cell", TEXTBOOK)
def test_every_way_to_compute_it_gives_the_logits_and_gradients_of_torch_nn(config_of, cell: str, layers: int) -> None:
    config = config_of(f"model.cell={cell}", f"layers={layers}")
    parameters, (X, Y) = weights(config), sentences()
    plain = Plain(config, parameters)
    wanted = plain(X)
    F.cross_entropy(wanted.flatten(0, 1), Y.flatten(), ignore_index=-1).backward()
    embedding, bias = plain.source.weight.grad, plain.output.bias.grad
    recurrent = plain.encoder.weight_hh_l0.grad[:H].T  # of the first gate

    for model in (EagerTranslator(config, SIZES, parameters), LibraryTranslator(config, SIZES, parameters)):
        logits, states = model(X)
        assert states == []
        torch.testing.assert_close(logits, wanted.flatten(0, 1), **EQUAL)
        F.cross_entropy(logits, Y.flatten(), ignore_index=-1).backward()
        torch.testing.assert_close(model.output_b.grad, bias, **EQUAL)
        for name, value in model.named_tensors().items():
            assert torch.equal(value, parameters[name])

    for project in (False, True):
        leaves = {name: value.clone().requires_grad_() for name, value in parameters.items()}
        logits, _ = Translator(config, SIZES, leaves, project=project)(X)
        torch.testing.assert_close(logits, wanted, **EQUAL)
        F.cross_entropy(logits.flatten(0, 1), Y.flatten(), ignore_index=-1).backward()
        torch.testing.assert_close(leaves["encoder.embedding"].grad, embedding, **EQUAL)
        torch.testing.assert_close(leaves[f"encoder.0.{CELLS[cell].preactivations[0]}.W_h"].grad, recurrent, **EQUAL)


@pytest.mark.parametrize("attention", ["false", "true"])
@pytest.mark.parametrize("cell", CELLS.names)
def test_replicas_compute_what_each_computes_alone(config_of, cell: str, attention: str) -> None:
    config = config_of(f"model.cell={cell}", f"task.attention={attention}")
    networks = [weights(config, seed) for seed in range(3)]
    X = torch.stack([sentences(seed)[0] for seed in range(3)])
    stacked = {
        name: torch.stack([own[name].unsqueeze(0) if own[name].dim() == 1 else own[name] for own in networks])
        for name in networks[0]
    }
    logits, _ = Translator(config, SIZES, stacked, project=True)(X)
    for own, tokens, found in zip(networks, X, logits, strict=True):
        torch.testing.assert_close(found, Translator(config, SIZES, own)(tokens)[0], **EQUAL)


def wild(config: Config, seed: int) -> dict[str, Tensor]:
    """Weights N(0, 4), with which hardly two sentences are translated alike."""
    generator = Generator().manual_seed(seed)
    return {
        name: 2 * torch.randn(value.shape, generator=generator, dtype=value.dtype)
        for name, value in weights(config).items()
    }


@pytest.mark.parametrize("context", ["constant", "as-published"])
@pytest.mark.parametrize("cell", TEXTBOOK)
def test_greedy_decoding_is_word_by_word(config_of, cell: str, context: str) -> None:
    config, (X, _) = config_of(f"model.cell={cell}", f"task.context={context}"), sentences()
    lengths = set()
    for seed in range(6):
        parameters = wild(config, seed)
        found = Translator(config, SIZES, parameters).greedy(X[0], T).T.tolist()
        plain = Plain(config, parameters)
        wanted = [plain.greedy(source, context == "as-published") for source in X[0].T]
        assert [sentence + [EOS] * (T - len(sentence)) for sentence in wanted] == found
        lengths |= {len(sentence) for sentence in wanted}
    assert len(lengths) > 1


def test_the_two_contexts_differ_from_the_second_word_on(config_of) -> None:
    X, _ = sentences()
    constant, published = (
        Translator(config, SIZES, wild(config, 2)).greedy(X[0], T)
        for config in (config_of("model=rnn"), config_of("model=rnn", "task.context=as-published"))
    )
    assert not torch.equal(constant, published)
    assert torch.equal(constant[0], published[0])  # the encoder's last state is the decoder's first


def test_attention_weighs_the_encoders_outputs_where_the_source_has_words(config_of) -> None:
    config = config_of("model=gru", "task.attention=true")
    translator, (X, _) = Translator(config, SIZES, weights(config)), sentences()
    encoded = translator.encode(X[0])
    context = translator.context(encoded, encoded.states)
    for b in range(B):
        query, length = encoded.states[-1][0][b], 1 + b % T
        scores = [math.exp(float(encoded.outputs[t, b] @ query)) for t in range(length)]
        mean = sum(s / sum(scores) * encoded.outputs[t, b] for t, s in enumerate(scores))
        torch.testing.assert_close(context[b], mean, **EQUAL)


def test_attention_reads_the_state_before_each_step(config_of) -> None:
    config = config_of("model=lstm", "task.attention=true")
    translator, (X, _) = Translator(config, SIZES, weights(config)), sentences()
    encoded = translator.encode(X[0])
    states, logits = encoded.states, []
    for t in range(T):
        logit, states = translator.decode(X[1, t : t + 1], states, translator.context(encoded, states))
        logits.append(logit)
    torch.testing.assert_close(translator(X)[0], torch.cat(logits), **EQUAL)


@pytest.mark.full
@pytest.mark.parametrize("attention", ["false", "true"])
def test_gradients_are_those_of_finite_differences(config_of, attention: str) -> None:
    config = config_of("model=gru", "layers=2", "num_hiddens=2", "task.embed=2", f"task.attention={attention}")
    parameters, (X, Y) = weights(config), sentences()
    X, Y = X[:, :3, :2], Y[:3, :2]
    names = list(parameters)

    def loss(*values: Tensor) -> Tensor:
        logits, _ = Translator(config, SIZES, dict(zip(names, values, strict=True)), project=True)(X)
        return F.cross_entropy(logits.flatten(0, 1), Y.flatten(), ignore_index=-1)

    assert torch.autograd.gradcheck(loss, [parameters[name].requires_grad_() for name in names], fast_mode=True)


@pytest.mark.parametrize("model", [EagerTranslator, LibraryTranslator])
def test_dropout_acts_between_the_layers_of_both_parts(config_of, model) -> None:
    config = config_of("model=gru", "layers=3", "dropout=0.5")
    parameters, (X, _) = weights(config), sentences()
    generator = Generator().manual_seed(3)
    masks = {place: dropout_mask((T, B, H), 0.5, generator, torch.float64) for place in (1, 2, 4, 5)}
    trained = model(config, SIZES, parameters, Generator().manual_seed(3))
    wanted, _ = Translator(config, SIZES, parameters)(X, [], masks)
    torch.testing.assert_close(trained.train()(X)[0], wanted.flatten(0, 1), **EQUAL)
    without, _ = Translator(config, SIZES, parameters)(X)
    torch.testing.assert_close(trained.eval()(X)[0], without.flatten(0, 1), **EQUAL)
    assert not torch.allclose(wanted, without)
    shapes = Translator(config, SIZES, parameters).mask_shapes(T, B)
    assert {place: shapes[place] for place in masks} == dict.fromkeys(masks, (T, B, H))


@pytest.mark.parametrize("engine", ["cohort", "eager", "torch_nn"])
def test_the_loss_is_the_mean_over_the_words_of_the_targets(config_of, engine: str) -> None:
    config = config_of("model=gru")
    parameters, (X, Y) = weights(config), sentences()
    logits, _ = Translator(config, SIZES, parameters)(X)
    losses = []
    for b in range(B):
        for t in range(1 + b % T):  # the length of target b
            losses.append(-float(logits[t, b, Y[t, b]] - logits[t, b].logsumexp(-1)))
    if engine == "cohort":
        program = StackedCohort([config] * 2, SIZES, [parameters] * 2)
    else:
        program = AutogradProgram(engine, config, SIZES, parameters)
    R = 2 if engine == "cohort" else 1
    held_out = program.evaluate(X, Y).tolist()
    trained = program.step(X.expand(R, *X.shape), Y.expand(R, *Y.shape), carry=False).tolist()
    assert held_out + trained == pytest.approx([sum(losses) / len(losses)] * (2 * R), abs=1e-12)


def test_the_published_network_has_47369_parameters(compose: Callable[..., Config]) -> None:
    assert count(compose("task=translation"), Sizes(184, 201)) == 47_369


def test_xavier_is_that_of_torch_nn_whose_gates_are_one_matrix(compose: Callable[..., Config]) -> None:
    """Drawn uniformly, so that the largest of many weights nearly reaches the bound, and none exceeds it."""
    config = compose("task=translation")
    drawn = initial(config, Sizes(184, 201), Generator().manual_seed(0))
    gru = nn.GRU(64, 32)
    for kind, matrix in (("W_x", gru.weight_ih_l0), ("W_h", gru.weight_hh_l0)):
        bound = float(nn.init.xavier_uniform_(matrix).detach().abs().max())
        own = torch.cat([drawn[f"decoder.0.{gate}.{kind}"] for gate in CELLS["gru"].preactivations])
        assert own.numel() == matrix.numel()
        assert float(own.abs().max()) == pytest.approx(bound, rel=5e-3)
    assert float(drawn["output.W"].abs().max()) == pytest.approx(math.sqrt(6 / (32 + 201)), rel=5e-3)
    assert 0.9 / math.sqrt(32) < float(drawn["encoder.1.reset.b_h"].abs().max()) < 1 / math.sqrt(32)
    assert float(drawn["decoder.embedding"].std()) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("init", ["torch", "normal", "xavier", "orthogonal"])
def test_a_forget_bias_is_set_in_every_layer_of_both_parts(config_of, init: str) -> None:
    config = config_of("model=lstm", "layers=2", f"init={init}", "forget_bias=1.5")
    drawn = initial(config, SIZES, Generator().manual_seed(0))
    for layer in ("encoder.0", "encoder.1", "decoder.0", "decoder.1"):
        assert torch.equal(drawn[f"{layer}.forget.b_x"], torch.full((H,), 1.5))
        assert not drawn[f"{layer}.forget.b_h"].any()
        if init == "orthogonal":
            W = drawn[f"{layer}.input.W_h"]
            torch.testing.assert_close(W @ W.T, torch.eye(H))
