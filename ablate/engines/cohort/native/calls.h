// The functions of the library, of the `struct Cell` before it: see kernel.h.

#ifndef BF16
struct Tiles {};
static bool tiles_allowed() { return true; }
#endif

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

// Tokens and targets (T, B), states (layer, part: (B, H)) moved on in place → mean cross-entropy in nats per scored
// token; with sizes.training also the gradients, where the parameters lie. With sizes.dropout, masks (T, B, H) below
// each layer but the first. −1 where a token is not in the vocabulary, or a target neither in it nor −1.
double minibatch(const Sizes *sizes, const i64 *places, const float *parameters, float *grads, const i64 *tokens,
                 const i64 *targets, float *const *states, const float *const *masks, char *workspace) {
    [[maybe_unused]] const Tiles tiles;
    Workspace work{(uintptr_t)workspace};
    Network<Cell> network(*sizes, work);
    for (i64 n = 0; n < network.N; n++)
        if (tokens[n] < 0 || tokens[n] >= sizes->V || targets[n] < -1 || targets[n] >= sizes->V) return -1.0;
    return network.run(places, parameters, grads, tokens, targets, states, masks);
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

// parameters −= lr · min(1, clip / ‖grads‖) · grads; the numbers of each, n, are a multiple of 32. Returns what is not
// finite, as ablate/engines/divergence.py counts it: 0 nothing; 2 the norm, summed without overflow, and then nothing has
// moved; 3 a parameter after the update.
int clipped_descent(float *parameters, const float *grads, i64 n, float lr, float clip) {
    double sums[32] = {};
    for (i64 i = 0; i < n; i += 32)
        for (int j = 0; j < 32; j++) sums[j] += (double)grads[i + j] * grads[i + j];
    double squares = 0;
    for (int j = 0; j < 32; j++) squares += sums[j];
    const float norm = (float)std::sqrt(squares);
    if (!std::isfinite(norm)) return 2;
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
    return exponents == infinite ? 3 : 0;
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
