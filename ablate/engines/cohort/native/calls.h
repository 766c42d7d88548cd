// The functions of the library, of the `struct Cell` before it: see kernel.h.

#ifndef BF16
struct Tiles {};
static bool tiles_allowed() { return true; }
#endif

// What is not finite, as ablate/engines/divergence.py counts it.
enum Cause { FINITE, LOSS, GRADIENT, UPDATE };

// J minibatches of each of R replicas, whose parameters are rows of P numbers, a multiple of 32: `Minibatches` of build.py.
struct Minibatches {
    i64 J, R, P, carries;        // whether a minibatch after the first goes on from the states that the one before left
    float *parameters, *grads;   // (R, P); without grads nothing is derived
    const i64 *tokens, *targets;  // (J, R, T, B)
    const float *numbers;         // with sizes.features, in the place of tokens: (J, R, T, B, features)
    float *const *states;        // of each layer and part (R, B, H), moved on in place
    const float *const *masks;   // with sizes.dropout: of each layer but the last (J, R, T, B, H)
    const float *rates, *clips;  // (J, R), (R): of clipped_descent; without rates nothing is updated
    float *losses, *last;        // (J, R), (R): mean cross-entropy in nats per scored token, and of the last minibatch
    unsigned char *causes;       // (R): of divergence; an update leaves out those that have one, whose last loss is repeated
};

#pragma GCC visibility push(default)
extern "C" {

// Bytes of workspace that a network needs, or a layer alone, aligned to 64; what is in them does not matter.
i64 workspace_bytes(const Sizes *sizes, int alone) {
    Workspace work{0};
    Network<Cell> network(*sizes, work, alone);
    return work.used;
}

// Once in a process, before the others: whether the system lets it use what the library was compiled for.
int allowed() { return tiles_allowed(); }

// parameters −= lr · min(1, clip / ‖grads‖) · grads; the numbers of each, n, are a multiple of 32. Returns what is not
// finite: the norm, summed without overflow, and then nothing has moved; or a parameter after the update.
int clipped_descent(float *parameters, const float *grads, i64 n, float lr, float clip) {
    double sums[32] = {};
    for (i64 i = 0; i < n; i += 32)
        for (int j = 0; j < 32; j++) sums[j] += (double)grads[i + j] * grads[i + j];
    double squares = 0;
    for (int j = 0; j < 32; j++) squares += sums[j];
    const float norm = (float)std::sqrt(squares);
    if (!std::isfinite(norm)) return GRADIENT;
    // In two factors: as one it would be too small for a float where the norm is large (divergence.py has the same).
    const float first = norm > clip && norm > 1e30f ? 0x1p-64f : 1.f;
    const float rate = norm > clip ? lr * (clip / (norm * first)) : lr;
    const int32_t infinite = 0x7f800000;  // the exponent of infinities and NaN, larger than that of any number
    int32_t exponents = 0;
    for (i64 i = 0; i < n; i++) {
        const float moved = parameters[i] - rate * (first * grads[i]);
        int32_t bits;
        std::memcpy(&bits, &moved, sizeof bits);
        bits &= infinite;
        exponents = bits > exponents ? bits : exponents;
        parameters[i] = moved;
    }
    return exponents == infinite ? UPDATE : FINITE;
}

// Replica by replica, which computes the same in any company: all its minibatches, each update while its gradients are in
// the cache. −1, and nothing has changed, where a token is not in the vocabulary, or a target neither in it nor −1.
int minibatches(const Sizes *sizes, const i64 *places, const Minibatches *of, char *workspace) {
    [[maybe_unused]] const Tiles tiles;
    const i64 N = sizes->T * sizes->B, state = sizes->B * sizes->H, mask = N * sizes->H;
    const i64 states = sizes->layers * Cell::STATES, masks = sizes->dropout ? sizes->layers - 1 : 0;
    for (i64 n = 0; n < of->J * of->R * N; n++) {
        if (!sizes->features && (of->tokens[n] < 0 || of->tokens[n] >= sizes->V)) return -1;
        if (of->targets[n] < -1 || of->targets[n] >= sizes->V) return -1;
    }
    for (i64 k = 0; k < of->R; k++) {
        float *const parameters = of->parameters + k * of->P, *const grads = of->grads ? of->grads + k * of->P : nullptr;
        float *own_states[LAYERS_LIMIT * Cell::STATES];
        for (i64 i = 0; i < states; i++) own_states[i] = of->states[i] + k * state;
        for (i64 j = 0; j < of->J; j++) {
            const i64 at = j * of->R + k;
            if (j > 0 && !of->carries)
                for (i64 i = 0; i < states; i++) std::memset(own_states[i], 0, 4 * state);
            if (!of->rates || of->causes[k] == FINITE) {
                const float *own_masks[LAYERS_LIMIT];
                for (i64 l = 0; l < masks; l++) own_masks[l] = of->masks[l] + at * mask;
                Workspace work{(uintptr_t)workspace};
                Network<Cell> network(*sizes, work);
                Inputs inputs{};
                if (sizes->features)
                    inputs.numbers = of->numbers + at * N * sizes->features;
                else
                    inputs.tokens = of->tokens + at * N;
                const i64 *const targets = of->targets + at * N;
                const double loss = network.run(places, parameters, grads, inputs, targets, own_states, own_masks);
                of->last[k] = (float)loss;
                if (of->rates && std::isfinite(loss))
                    of->causes[k] = clipped_descent(parameters, grads, of->P, of->rates[at], of->clips[k]);
                else if (of->rates)
                    of->causes[k] = LOSS;
            }
            of->losses[at] = of->last[k];
        }
    }
    return 0;
}

void layer_forward(const Sizes *sizes, int reverse, const float *shares, float *const *states, float *const *matrices,
                   float *const *vectors, float *outputs, float *const *new_states, char *workspace) {
    [[maybe_unused]] const Tiles tiles;
    Workspace work{(uintptr_t)workspace};
    Network<Cell> network(*sizes, work, true);
    network.layer_forward(reverse, shares, states, matrices, vectors, outputs, new_states);
}

void layer_backward(const Sizes *sizes, int reverse, const float *d_outputs, const float *const *d_new_states, float *d_shares,
                    float *const *d_states, float *const *d_matrices, float *const *d_vectors, char *workspace) {
    [[maybe_unused]] const Tiles tiles;
    Workspace work{(uintptr_t)workspace};
    Network<Cell> network(*sizes, work, true);
    network.layer_backward(reverse, d_outputs, d_new_states, d_shares, d_states, d_matrices, d_vectors);
}

// For the tests: exp, sigmoid, tanh of n numbers, a multiple of 32.
void functions(const float *x, float *exp, float *sigmoids, float *tanh, i64 n) {
    for (i64 i = 0; i < n; i += L) {
        vec v;
        std::memcpy(&v, x + i, sizeof v);
        const vec e = exp_(v), s = sigmoid(v), t = tanh_(v);
        std::memcpy(exp + i, &e, sizeof v), std::memcpy(sigmoids + i, &s, sizeof v), std::memcpy(tanh + i, &t, sizeof v);
    }
}
}
#pragma GCC visibility pop
