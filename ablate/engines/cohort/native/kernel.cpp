// One minibatch of one replica, forward and back, in float32 on one core: the cells of ablate/cohort/steps.py.
//
// Axes: T steps, B sequences, N = T·B tokens, of which S are scored, H hidden units, V vocabulary, G gates, L lanes of
// a vector.
// Per layer, with X the input's share of the pre-activations (a row of W_x per token, biases included):
//
//   forward   for t = 1 … T:   P = H_{t−1} W_h;   gates from X_t + P;   H_t from the gates and H_{t−1}
//   back      for t = T … 1:   dH_t = dY_t + (direct path from t+1) + D_{t+1} W_hᵀ;   D_t = dH_t ⊙ local derivatives
//   after     dW_h = Σ_t H_{t−1}ᵀ D_t;   dW_x = scatter-add of D by token (first layer), Σ_n X_nᵀ D_n (above)
//
// Layout: all that has a hidden or vocabulary axis is cut into panels of L units: [panel][row][gate][lane]. A row is
// a token, a word or a row of a weight matrix. So a tile's product delivers every gate of L units for a few
// sequences at once; they become states, or gradients, before they leave the innermost cache. A gate's gradient
// takes the place of the gate. Units beyond H are padding: weights, states and gradients of zero.
//
// A token whose target is −1 is not scored. The output layer computes the rows of the S others only, moved together.
//
// No global state and no allocation: the caller brings the workspace. Compiled without -ffast-math, which would
// cancel the rounding constant of exp.

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <type_traits>
#include <utility>

#if defined(__AVX512F__)
constexpr int L = 16, REGISTERS = 32;
#elif defined(__AVX__)
constexpr int L = 8, REGISTERS = 16;
#elif defined(__aarch64__)
constexpr int L = 4, REGISTERS = 32;
#else
constexpr int L = 4, REGISTERS = 16;
#endif
typedef float vec __attribute__((vector_size(4 * L), may_alias));
typedef int32_t ivec __attribute__((vector_size(4 * L), may_alias));
typedef int64_t i64;

static inline vec all(float x) { return x - vec{}; }
static inline vec load(const float *p) { return *(const vec *)p; }
static inline void store(float *p, vec x) { *(vec *)p = x; }
static inline i64 panels_of(i64 n) { return (n + L - 1) / L; }

// ---- functions -------------------------------------------------------------------------------------------------

// Cephes' expf: x = n ln 2 + r, exp r by a polynomial. NaN stays NaN, because no comparison with it holds.
static inline vec exp_(vec x) {
    x = x > 88.f ? all(88.f) : x;
    x = x < -87.f ? all(-87.f) : x;
    const float to_integer = 12582912.f;  // 1.5 · 2²³: adding it leaves the rounded value in the low bits
    vec shifted = x * 1.44269504088896341f + to_integer;
    vec n = shifted - to_integer;
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f;
    vec p = all(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.f;
    return (vec)((ivec)p + ((ivec)shifted << 23));  // · 2ⁿ
}

static inline vec sigmoid(vec x) { return 1.f / (1.f + exp_(-x)); }

// Odd rational approximation on |x| < 7.9, beyond which tanh is ±1 in float32 (as in Eigen's ptanh).
static inline vec tanh_(vec x) {
    const float bound = 7.90531110763549805f;
    x = x > bound ? all(bound) : x;
    x = x < -bound ? all(-bound) : x;
    vec y = x * x;
    vec p = all(-2.76076847742355e-16f);
    p = p * y + 2.00018790482477e-13f;
    p = p * y + -8.60467152213735e-11f;
    p = p * y + 5.12229709037114e-08f;
    p = p * y + 1.48572235717979e-05f;
    p = p * y + 6.37261928875436e-04f;
    p = p * y + 4.89352455891786e-03f;
    vec q = all(1.19825839466702e-06f);
    q = q * y + 1.18534705686654e-04f;
    q = q * y + 2.26843463243900e-03f;
    q = q * y + 4.89352518554385e-03f;
    return x * p / q;
}

// The lanes reduced by `op`, in every lane: each half with the other, then each quarter …
template <int W, int... I> static inline vec swapped(vec x, std::integer_sequence<int, I...>) {
    return __builtin_shufflevector(x, x, (I ^ W)...);
}
template <int W = L / 2, class Op> static inline vec reduce(vec x, Op op) {
    x = op(x, swapped<W>(x, std::make_integer_sequence<int, L>()));
    if constexpr (W > 1) return reduce<W / 2>(x, op);
    return x;
}

// ---- products --------------------------------------------------------------------------------------------------

struct Panels {  // [panel][row][gate][lane]
    float *at = nullptr;
    i64 rows = 0;
    i64 width = 0;  // gates · L
    float *operator()(i64 panel, i64 row) const { return at + (panel * rows + row) * width; }
    Panels from(i64 row, i64 gate = 0) const { return {at + row * width + gate * L, rows, width}; }
};

// Rows of a register tile, given the vectors of a row.
constexpr int tile_rows(int vectors) {
    if (REGISTERS >= 32) return vectors == 1 ? 16 : vectors < 4 ? 8 : 6;
    return vectors == 1 ? 8 : vectors < 4 ? 4 : 2;
}

// out[r][u·G + g] = Σ_k a[row r][k] w[u][k][g]. The k axis of `a` comes in panels of `width` numbers.
template <int ROWS, int G, int U>
__attribute__((noinline, noclone)) static void multiply(vec *__restrict out, const float *a, i64 a_row, i64 a_panel, i64 panels,
                                               i64 width, const float *w, i64 w_panel) {
    vec sum[ROWS][U * G] = {};
    for (i64 p = 0; p < panels; p++, a += a_panel)
        for (i64 k = 0; k < width; k++, w += G * L) {
            vec b[U * G];
#pragma GCC unroll 8
            for (int c = 0; c < U * G; c++) b[c] = load(w + (c / G) * w_panel + (c % G) * L);
#pragma GCC unroll 16
            for (int r = 0; r < ROWS; r++) {
                const float x = a[r * a_row + k];
#pragma GCC unroll 8
                for (int c = 0; c < U * G; c++) sum[r][c] += x * b[c];
            }
        }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
        for (int c = 0; c < U * G; c++) out[r * U * G + c] = sum[r][c];
}

template <int ROWS, int G, int U, class Finish>
static inline void tiles(i64 &row, i64 rows, i64 unit, const Panels &a, i64 panels, i64 width, const float *w,
                         const Finish &finish) {
    const i64 w_panel = panels * width * G * L;
    vec out[ROWS * U * G];
    for (; row + ROWS <= rows; row += ROWS) {
        multiply<ROWS, G, U>(out, a(0, row), a.width, a.rows * a.width, panels, width, w + unit * w_panel, w_panel);
        for (int u = 0; u < U; u++)
            for (int r = 0; r < ROWS; r++) finish(unit + u, row + r, out + (r * U + u) * G);
    }
    constexpr int FEWER = ROWS > 8 ? 8 : ROWS > 4 ? 4 : ROWS / 2;
    if constexpr (ROWS > 1) tiles<FEWER, G, U>(row, rows, unit, a, panels, width, w, finish);
}

// finish(unit, row, product[G]) for every row of `a` and every panel of units: row times w[unit][k][G].
template <int G, class Finish>
static inline void product(i64 rows, i64 units, const Panels &a, i64 panels, i64 width, const float *w,
                           const Finish &finish) {
    constexpr int U = G == 1 ? 2 : 1;
    i64 unit = 0;
    for (; unit + U <= units; unit += U) {
        i64 row = 0;
        tiles<tile_rows(G * U), G, U>(row, rows, unit, a, panels, width, w, finish);
    }
    if (U == 2 && unit < units) {
        i64 row = 0;
        tiles<tile_rows(G), G, 1>(row, rows, unit, a, panels, width, w, finish);
    }
}

// out[i][c] += Σ_n a[n][i] b[n][c], over `tokens` rows.
template <int ROWS, int C>
__attribute__((noinline, noclone)) static void accumulate(float *out, i64 out_row, const float *a, i64 a_row, const float *b,
                                                 i64 b_row, i64 tokens) {
    vec sum[ROWS][C];
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
        for (int c = 0; c < C; c++) sum[r][c] = load(out + r * out_row + c * L);
    for (i64 n = 0; n < tokens; n++, a += a_row, b += b_row) {
        vec y[C];
#pragma GCC unroll 8
        for (int c = 0; c < C; c++) y[c] = load(b + c * L);
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; r++) {
            const float x = a[r];
#pragma GCC unroll 8
            for (int c = 0; c < C; c++) sum[r][c] += x * y[c];
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
        for (int c = 0; c < C; c++) store(out + r * out_row + c * L, sum[r][c]);
}

// out[unit][i][c] = Σ_n a[n][i] b[unit][n][c] for C gates of b: the gradient of weights from the panels of both sides.
template <int C>
static void weight_gradient(const Panels &out, const Panels &a, i64 a_panels, const Panels &b, i64 units, i64 N) {
    constexpr int ROWS = tile_rows(C) < L ? tile_rows(C) : L;
    const i64 fit = (96 * 1024) / (a_panels * L);  // as many tokens as keep a's rows in the second-level cache
    const i64 block = fit < 64 ? 64 : fit;
    for (i64 unit = 0; unit < units; unit++)
        for (i64 i = 0; i < a_panels * L; i++) std::memset(out(unit, i), 0, C * L * sizeof(float));
    for (i64 n = 0; n < N; n += block)
        for (i64 unit = 0; unit < units; unit++)
            for (i64 p = 0; p < a_panels; p++)
                for (i64 r = 0; r < L; r += ROWS)
                    accumulate<ROWS, C>(out(unit, p * L + r), out.width, a(p, n) + r, a.width, b(unit, n), b.width,
                                        N - n < block ? N - n : block);
}

// ---- the caller's plain matrices -------------------------------------------------------------------------------

struct Matrix {  // in the parameters or their gradients: a gate's columns of a matrix of `row` numbers per row
    i64 at, row;
};

static i64 lanes_of(i64 panel, i64 units) { return units - panel * L < L ? units - panel * L : L; }

// Plain rows of `units` numbers ↔ one gate of panels.
static void pack(const Panels &to, const float *from, i64 from_row, i64 rows, i64 units) {
    for (i64 p = 0; p < panels_of(units); p++)
        for (i64 r = 0; r < rows; r++) std::memcpy(to(p, r), from + r * from_row + p * L, 4 * lanes_of(p, units));
}

static void unpack(float *to, i64 to_row, const Panels &from, i64 rows, i64 units) {
    for (i64 p = 0; p < panels_of(units); p++)
        for (i64 r = 0; r < rows; r++) std::memcpy(to + r * to_row + p * L, from(p, r), 4 * lanes_of(p, units));
}

// Wᵀ as [unit of W's rows][k][lane], k running over W's columns in the order [panel][gate of `gates`][lane].
static void pack_transposed(float *to, int gate, int gates, const float *from, i64 from_row, i64 rows, i64 columns) {
    const i64 k_panel = gates * L * L;
    for (i64 u = 0; u < panels_of(rows); u++)
        for (i64 p = 0; p < panels_of(columns); p++) {
            float *block = to + (u * panels_of(columns) + p) * k_panel + gate * L * L;
            const i64 n = lanes_of(u, rows), m = lanes_of(p, columns);
            for (i64 j = 0; j < n; j++) {
                const float *row = from + (u * L + j) * from_row + p * L;
                for (i64 i = 0; i < m; i++) block[i * L + j] = row[i];
            }
        }
}

// ---- cells -----------------------------------------------------------------------------------------------------

enum Cell { RNN_TANH, RNN_RELU, GRU_BEFORE, GRU_AFTER, LSTM };

// `kept` gates per unit and step, which become gradients. Those at the input begin at `input`; those of the first
// product with the state are the first `state` ones. GRU with the reset before keeps the candidate for a second one.
template <Cell C> struct Traits {
    static constexpr bool two_products = C == GRU_BEFORE;
    static constexpr int gates = C <= RNN_RELU ? 1 : C == LSTM ? 4 : 3;
    static constexpr int kept = C == GRU_AFTER ? 4 : gates;
    static constexpr int input = kept - gates;
    static constexpr int state = two_products ? 2 : gates;
};

// Position k among the kept gates at the state → the gate's number in the caller's order.
template <Cell C> static int state_gate(int k) { return C == GRU_AFTER ? (k + 2) % 3 : k; }  // candidate, reset, update

struct Layer {
    Panels states, kept, X;     // (T+1)·B, N, and the rows that `row_of` picks
    Panels cells, tanh_cells;   // lstm: (T+1)·B, N
    Panels reset_states;        // gru, reset before: R ⊙ H, N
    float *W_h, *W_h2;          // [unit][k][gates at the state], and those of the second product
    float *W_T, *W_T2;          // their transposes
    float *W_x, *W_xT;          // above the first layer
    Panels dW_h, dW_x, d_bias;  // rows: units or words; dW_h of the second product shares the rows
    Panels b_state;             // gru, reset after: the candidate's bias at the state
};

struct Sizes {
    i64 T, B, H, V, layers, cell, training;
};

struct Workspace {
    uintptr_t base;  // 0 to count only
    i64 used = 0;
    float *floats(i64 n) {
        float *out = (float *)(base + used);
        used += (4 * n + 63) / 64 * 64;
        return out;
    }
    i64 *integers(i64 n) { return (i64 *)floats(2 * n); }
    Panels panels(i64 panels, i64 rows, i64 gates) { return {floats(panels * rows * gates * L), rows, gates * L}; }
};

template <Cell C> struct Network {
    using Of = Traits<C>;
    const Sizes s;
    const i64 N, units, words;
    Layer layer[16];  // LAYER_LIMIT in program.py
    Panels P, Y_scored, dY, carried, W_out, dW_out, W_rows;
    float *W_logits, *b_logits, *db;
    i64 *scored;  // S numbers of tokens, ascending
    i64 S = 0;

    Network(const Sizes &sizes, Workspace &work) : s(sizes), N(s.T * s.B), units(panels_of(s.H)), words(panels_of(s.V)) {
        const i64 square = units * units * L * L;
        for (i64 l = 0; l < s.layers; l++) {
            Layer &y = layer[l];
            const i64 inputs = l == 0 ? s.V : units * L;
            y.states = work.panels(units, (s.T + 1) * s.B, 1);
            y.kept = work.panels(units, N, Of::kept);
            y.X = work.panels(units, l == 0 ? s.V : N, Of::gates);
            if (C == LSTM) y.cells = work.panels(units, (s.T + 1) * s.B, 1), y.tanh_cells = work.panels(units, N, 1);
            if (C == GRU_BEFORE) y.reset_states = work.panels(units, N, 1);
            y.W_h = work.floats(square * Of::state), y.W_T = work.floats(square * Of::state);
            y.W_h2 = work.floats(Of::two_products * square), y.W_T2 = work.floats(Of::two_products * square);
            y.W_x = work.floats(l * square * Of::gates), y.W_xT = work.floats(l * square * Of::gates);
            y.b_state = work.panels(units, 1, 1);
            if (!s.training) continue;
            y.dW_h = work.panels(units, units * L, Of::gates);
            y.dW_x = work.panels(units, inputs, Of::gates);
            y.d_bias = work.panels(units, 1, Of::kept);
        }
        P = work.panels(words, N, 1);
        W_logits = work.floats(words * L * units * L), b_logits = work.floats(words * L), db = work.floats(words * L);
        if (s.training) {
            dY = work.panels(units, N, 1), carried = work.panels(units, s.B, 1);
            W_rows = work.panels(units, words * L, 1), dW_out = work.panels(units, words * L, 1);
        }
        Y_scored = work.panels(units, N, 1), scored = work.integers(N);
    }

    // Where the caller's tensors lie: per layer and gate W_x, W_h, b_x, b_h (at < 0: none), then the output's W and b.
    struct Places {
        const i64 *at;
        Matrix operator()(i64 l, int gate, int which) const {
            const i64 *p = at + ((l * Of::gates + gate) * 4 + which) * 2;
            return {p[0], p[1]};
        }
        i64 output_W(i64 layers) const { return at[layers * Of::gates * 8]; }
        i64 output_b(i64 layers) const { return at[layers * Of::gates * 8 + 1]; }
    };
    enum { W_X, W_H, B_X, B_H };

    void prepare(const Places &places, const float *w) {
        const i64 H = s.H, square = units * units * L * L;
        for (i64 l = 0; l < s.layers; l++) {
            Layer &y = layer[l];
            if (H % L) {
                for (float *padded : {y.W_h, y.W_T}) std::memset(padded, 0, 4 * square * Of::state);
                for (float *padded : {y.W_h2, y.W_T2}) std::memset(padded, 0, 4 * square * Of::two_products);
                for (float *padded : {y.W_x, y.W_xT}) std::memset(padded, 0, 4 * l * square * Of::gates);
                std::memset(y.X.at, 0, 4 * units * y.X.rows * y.X.width);
            }
            for (int k = 0; k < Of::gates; k++) {
                const Matrix m = places(l, state_gate<C>(k), W_H);
                const bool second = k >= Of::state;
                const int gates = second ? 1 : Of::state, g = second ? 0 : k;
                const Panels onward{second ? y.W_h2 : y.W_h, units * L, gates * L};
                pack(onward.from(0, g), w + m.at, m.row, H, H);
                if (s.training) pack_transposed(second ? y.W_T2 : y.W_T, g, gates, w + m.at, m.row, H, H);
            }
            for (int g = 0; g < Of::gates; g++) {
                const Matrix m = places(l, g, W_X);
                if (l == 0) {
                    pack(y.X.from(0, g), w + m.at, m.row, s.V, H);
                } else {
                    pack(Panels{y.W_x, units * L, Of::gates * L}.from(0, g), w + m.at, m.row, H, H);
                    if (s.training) pack_transposed(y.W_xT, g, Of::gates, w + m.at, m.row, H, H);
                }
            }
        }
        const float *W = w + places.output_W(s.layers), *b = w + places.output_b(s.layers);
        std::memset(W_logits, 0, 4 * words * L * units * L);
        pack_transposed(W_logits, 0, 1, W, H, s.V, H);
        for (i64 v = 0; v < words * L; v++) b_logits[v] = v < s.V ? b[v] : -FLT_MAX;  // no word: probability 0
        if (s.training) {
            std::memset(W_rows.at, 0, 4 * units * W_rows.rows * L);
            pack(W_rows, W, H, s.V, H);
        }
    }

    // The biases that are added to the input's share: (units, gates · L). The candidate's of gru-after stays apart.
    void add_biases(i64 l, const Places &places, const float *w) {
        Layer &y = layer[l];
        std::memset(y.b_state.at, 0, 4 * units * L);
        for (int g = 0; g < Of::gates; g++) {
            const Matrix x = places(l, g, B_X), h = places(l, g, B_H);
            const bool apart = C == GRU_AFTER && g == 2;
            if (apart && h.at >= 0) pack(y.b_state, w + h.at, 0, 1, s.H);
            for (i64 u = 0; u < units; u++) {
                float sum[L] = {};
                for (i64 i = 0; i < lanes_of(u, s.H); i++)
                    sum[i] = w[x.at + u * L + i] + (h.at >= 0 && !apart ? w[h.at + u * L + i] : 0.f);
                vec bias;
                std::memcpy(&bias, sum, sizeof bias);
                for (i64 r = 0; r < y.X.rows; r++) {
                    float *X = y.X(u, r) + g * L;
                    store(X, load(X) + bias);
                }
            }
        }
    }

    // ---- one step forward: gates and states of step t; X rows are the words, or above the first layer the tokens.

    void forward(Layer &y, i64 t, const i64 *words_of) {
        const i64 n0 = t * s.B;
        const Panels old = y.states.from(n0), now = y.states.from(n0 + s.B), kept = y.kept.from(n0);
        auto X_of = [&](i64 u, i64 b) { return y.X(u, words_of ? words_of[n0 + b] : n0 + b); };
        if constexpr (C == RNN_TANH || C == RNN_RELU) {
            product<1>(s.B, units, old, units, L, y.W_h, [&](i64 u, i64 b, const vec *p) {
                const vec a = load(X_of(u, b)) + p[0];
                store(now(u, b), C == RNN_RELU ? (a < 0.f ? vec{} : a) : tanh_(a));  // NaN stays NaN
            });
        } else if constexpr (C == GRU_AFTER) {
            product<3>(s.B, units, old, units, L, y.W_h, [&](i64 u, i64 b, const vec *p) {
                const float *X = X_of(u, b);
                const vec recurrent = p[0] + load(y.b_state(u, 0));
                const vec R = sigmoid(load(X) + p[1]), Z = sigmoid(load(X + L) + p[2]);
                const vec candidate = tanh_(load(X + 2 * L) + R * recurrent);
                store(now(u, b), candidate + Z * (load(old(u, b)) - candidate));
                float *k = kept(u, b);
                store(k, recurrent), store(k + L, R), store(k + 2 * L, Z), store(k + 3 * L, candidate);
            });
        } else if constexpr (C == GRU_BEFORE) {
            const Panels reset = y.reset_states.from(n0);
            product<2>(s.B, units, old, units, L, y.W_h, [&](i64 u, i64 b, const vec *p) {
                const float *X = X_of(u, b);
                const vec R = sigmoid(load(X) + p[0]), Z = sigmoid(load(X + L) + p[1]);
                store(reset(u, b), R * load(old(u, b)));
                store(kept(u, b), R), store(kept(u, b) + L, Z);
            });
            product<1>(s.B, units, reset, units, L, y.W_h2, [&](i64 u, i64 b, const vec *p) {
                const vec candidate = tanh_(load(X_of(u, b) + 2 * L) + p[0]), Z = load(kept(u, b) + L);
                store(now(u, b), candidate + Z * (load(old(u, b)) - candidate));
                store(kept(u, b) + 2 * L, candidate);
            });
        } else {
            const Panels C_old = y.cells.from(n0), C_now = y.cells.from(n0 + s.B), tanh_C = y.tanh_cells.from(n0);
            product<4>(s.B, units, old, units, L, y.W_h, [&](i64 u, i64 b, const vec *p) {
                const float *X = X_of(u, b);
                const vec I = sigmoid(load(X) + p[0]), F = sigmoid(load(X + L) + p[1]);
                const vec candidate = tanh_(load(X + 2 * L) + p[2]), O = sigmoid(load(X + 3 * L) + p[3]);
                const vec cell = F * load(C_old(u, b)) + I * candidate, squashed = tanh_(cell);
                store(C_now(u, b), cell), store(tanh_C(u, b), squashed), store(now(u, b), O * squashed);
                float *k = kept(u, b);
                store(k, I), store(k + L, F), store(k + 2 * L, candidate), store(k + 3 * L, O);
            });
        }
    }

    // ---- one step back: `kept` of step t becomes D_t; `carried` is what reaches the old state (lstm: the old cell)
    // past the product.

    void backward(Layer &y, i64 t) {
        const i64 n0 = t * s.B;
        const Panels old = y.states.from(n0), now = y.states.from(n0 + s.B), D = y.kept.from(n0), above = dY.from(n0);
        const Panels later = y.kept.from(n0 + s.B);  // D_{t+1}
        const i64 panels = t + 1 < s.T ? units : 0, width = Of::state * L;
        // Without a later step the product has no terms, and the panels of the weights no length.
        if constexpr (C == RNN_TANH || C == RNN_RELU) {
            product<1>(s.B, units, later, panels, width, y.W_T, [&](i64 u, i64 b, const vec *p) {
                const vec dH = p[0] + load(above(u, b)), H = load(now(u, b));
                store(D(u, b), C == RNN_RELU ? (H > 0.f ? dH : vec{}) : dH * (1.f - H * H));
            });
        } else if constexpr (C == GRU_AFTER) {
            product<1>(s.B, units, later, panels, width, y.W_T, [&](i64 u, i64 b, const vec *p) {
                const vec dH = p[0] + load(above(u, b)) + load(carried(u, b));
                float *d = D(u, b);
                const vec recurrent = load(d), R = load(d + L), Z = load(d + 2 * L), candidate = load(d + 3 * L);
                const vec d_candidate = dH * (1.f - Z) * (1.f - candidate * candidate);
                store(d, d_candidate * R);
                store(d + L, d_candidate * recurrent * (R * (1.f - R)));
                store(d + 2 * L, dH * (load(old(u, b)) - candidate) * (Z * (1.f - Z)));
                store(d + 3 * L, d_candidate);
                store(carried(u, b), dH * Z);
            });
        } else if constexpr (C == GRU_BEFORE) {
            product<1>(s.B, units, later, panels, width, y.W_T, [&](i64 u, i64 b, const vec *p) {
                const vec dH = p[0] + load(above(u, b)) + load(carried(u, b));
                float *d = D(u, b);
                const vec Z = load(d + L), candidate = load(d + 2 * L);
                store(d + L, dH * (load(old(u, b)) - candidate) * (Z * (1.f - Z)));
                store(d + 2 * L, dH * (1.f - Z) * (1.f - candidate * candidate));
                store(carried(u, b), dH * Z);
            });
            product<1>(s.B, units, D.from(0, 2), units, L, y.W_T2, [&](i64 u, i64 b, const vec *p) {
                const vec R = load(D(u, b));
                store(D(u, b), p[0] * load(old(u, b)) * (R * (1.f - R)));
                store(carried(u, b), load(carried(u, b)) + p[0] * R);
            });
        } else {
            const Panels C_old = y.cells.from(n0), tanh_C = y.tanh_cells.from(n0);
            product<1>(s.B, units, later, panels, width, y.W_T, [&](i64 u, i64 b, const vec *p) {
                const vec dH = p[0] + load(above(u, b));
                float *d = D(u, b);
                const vec I = load(d), F = load(d + L), candidate = load(d + 2 * L), O = load(d + 3 * L);
                const vec squashed = load(tanh_C(u, b));
                const vec dC = load(carried(u, b)) + dH * O * (1.f - squashed * squashed);
                store(d, dC * candidate * (I * (1.f - I)));
                store(d + L, dC * load(C_old(u, b)) * (F * (1.f - F)));
                store(d + 2 * L, dC * I * (1.f - candidate * candidate));
                store(d + 3 * L, dH * squashed * (O * (1.f - O)));
                store(carried(u, b), dC * F);
            });
        }
    }

    // The scored rows of Y: Y itself where all are.
    Panels choose(const Panels &Y, const i64 *targets) {
        i64 count = 0;
        for (i64 n = 0; n < N; n++) {  // without a branch: what is not scored is written over
            scored[count] = n;
            count += targets[n] >= 0;
        }
        S = count;
        if (S == N) return Y;
        for (i64 u = 0; u < units; u++)
            for (i64 r = 0; r < S; r++) store(Y_scored(u, r), load(Y(u, scored[r])));
        return Y_scored;
    }

    // Logits, softmax and cross-entropy of the scored rows; with `training` P becomes the gradient at the logits and
    // dY is filled. The loss is 0 if nothing is scored.
    double output(const Panels &Y, const i64 *targets) {
        const float share = 1.f / S;
        double loss = 0;
        const i64 block = 32;
        if (s.training && S < N) std::memset(dY.at, 0, 4 * units * N * L);
        for (i64 n0 = 0; n0 < S; n0 += block) {
            const i64 rows = S - n0 < block ? S - n0 : block;
            const Panels logits = P.from(n0);
            product<1>(rows, words, Y.from(n0), units, L, W_logits, [&](i64 v, i64 r, const vec *p) {
                store(logits(v, r), p[0] + load(b_logits + v * L));
            });
            double sums = 1;  // log Σ₁ + log Σ₂ + … = log(Σ₁ Σ₂ …), far from overflow: each is at most V
            for (i64 r = 0; r < rows; r++) {
                vec top = load(logits(0, r)), sum = {};
                for (i64 v = 1; v < words; v++) {
                    const vec x = load(logits(v, r));
                    top = x > top ? x : top;
                }
                top = reduce(top, [](vec x, vec y) { return x > y ? x : y; });
                const i64 target = targets[scored[n0 + r]];
                float *of_target = logits(target / L, r) + target % L;
                loss -= *of_target - top[0];
                for (i64 v = 0; v < words; v++) {
                    const vec x = load(logits(v, r)) - top;
                    const vec e = x < -60.f ? vec{} : exp_(x);  // below any rounding; denormal numbers are slow
                    sum += e;
                    store(logits(v, r), e);
                }
                sum = reduce(sum, [](vec x, vec y) { return x + y; });
                sums *= sum[0];
                if (!s.training) continue;
                const vec scale = share / sum;
                for (i64 v = 0; v < words; v++) store(logits(v, r), load(logits(v, r)) * scale);
                *of_target -= share;
            }
            loss += std::log(sums);
            if (!s.training) continue;
            const Panels d = dY;
            const i64 *row = scored + n0;
            product<1>(rows, units, logits, words, L, W_rows.at,
                       [&](i64 u, i64 r, const vec *p) { store(d(u, row[r]), p[0]); });
        }
        return S ? loss / S : 0;
    }

    double run(const Places &places, const float *w, float *grads, const i64 *tokens, const i64 *targets,
               float *const *states) {
        constexpr int parts = C == LSTM ? 2 : 1;
        prepare(places, w);
        for (i64 l = 0; l < s.layers; l++) {
            Layer &y = layer[l];
            if (l > 0)
                product<Of::gates>(N, units, layer[l - 1].states.from(s.B), units, L, y.W_x,
                                   [&](i64 u, i64 n, const vec *p) {
                                       for (int g = 0; g < Of::gates; g++) store(y.X(u, n) + g * L, p[g]);
                                   });
            add_biases(l, places, w);
            for (int part = 0; part < parts; part++) {
                const Panels into = part == 0 ? y.states : y.cells;
                for (i64 u = 0; u < units; u++) std::memset(into(u, 0), 0, 4 * s.B * L);
                pack(into, states[l * parts + part], s.H, s.B, s.H);
            }
            for (i64 t = 0; t < s.T; t++) forward(y, t, l == 0 ? tokens : nullptr);
            for (int part = 0; part < parts; part++)
                unpack(states[l * parts + part], s.H, (part == 0 ? y.states : y.cells).from(N), s.B, s.H);
        }
        const Panels Y = choose(layer[s.layers - 1].states.from(s.B), targets);
        const double loss = output(Y, targets);
        if (!s.training) return loss;

        weight_gradient<1>(dW_out, P, words, Y, units, S);
        unpack(grads + places.output_W(s.layers), s.H, dW_out, s.V, s.H);
        std::memset(db, 0, 4 * words * L);
        for (i64 v = 0; v < words; v++)
            for (i64 n = 0; n < S; n++) store(db + v * L, load(db + v * L) + load(P(v, n)));
        std::memcpy(grads + places.output_b(s.layers), db, 4 * s.V);
        for (i64 l = s.layers - 1; l >= 0; l--) gradients(l, places, grads, tokens);
        return loss;
    }

    void gradients(i64 l, const Places &places, float *grads, const i64 *tokens) {
        Layer &y = layer[l];
        std::memset(carried.at, 0, 4 * units * s.B * L);
        for (i64 t = s.T - 1; t >= 0; t--) backward(y, t);
        if constexpr (Of::state == 4) {  // in halves, for want of registers
            weight_gradient<2>(y.dW_h, y.states, units, y.kept, units, N);
            weight_gradient<2>(y.dW_h.from(0, 2), y.states, units, y.kept.from(0, 2), units, N);
        } else {
            weight_gradient<Of::state>(y.dW_h, y.states, units, y.kept, units, N);
        }
        if constexpr (Of::two_products)
            weight_gradient<1>(y.dW_h.from(0, 2), y.reset_states, units, y.kept.from(0, 2), units, N);
        const Panels D = y.kept.from(0, Of::input);
        if (l > 0) {
            const Panels X = layer[l - 1].states.from(s.B);
            for (int g = 0; g < Of::gates; g++)
                weight_gradient<1>(y.dW_x.from(0, g), X, units, D.from(0, g), units, N);
            product<1>(N, units, D, units, Of::gates * L, y.W_xT,
                       [&](i64 u, i64 n, const vec *p) { store(dY(u, n), p[0]); });
        } else {
            std::memset(y.dW_x.at, 0, 4 * units * s.V * y.dW_x.width);
        }
        for (i64 u = 0; u < units; u++) {
            vec sums[Of::kept] = {};
            for (i64 n = 0; n < N; n++) {
                const float *d = y.kept(u, n);
                for (int k = 0; k < Of::kept; k++) sums[k] += load(d + k * L);
                if (l > 0) continue;
                float *word = y.dW_x(u, tokens[n]);
                for (int g = 0; g < Of::gates; g++)
                    store(word + g * L, load(word + g * L) + load(d + (Of::input + g) * L));
            }
            for (int k = 0; k < Of::kept; k++) store(y.d_bias(u, 0) + k * L, sums[k]);
        }
        for (int g = 0; g < Of::gates; g++) {
            const Matrix x = places(l, g, W_X), b = places(l, g, B_X);
            unpack(grads + x.at, x.row, y.dW_x.from(0, g), l == 0 ? s.V : s.H, s.H);
            unpack(grads + b.at, 0, y.d_bias.from(0, Of::input + g), 1, s.H);
        }
        for (int k = 0; k < Of::gates; k++) {
            const Matrix h = places(l, state_gate<C>(k), W_H), b = places(l, state_gate<C>(k), B_H);
            unpack(grads + h.at, h.row, y.dW_h.from(0, k), s.H, s.H);
            if (b.at >= 0) unpack(grads + b.at, 0, y.d_bias.from(0, k), 1, s.H);
        }
    }
};

// ---- what Python calls -----------------------------------------------------------------------------------------

template <class Do> static auto with_cell(i64 cell, const Do &act) {
    switch (cell) {
        case RNN_TANH: return act(std::integral_constant<Cell, RNN_TANH>());
        case RNN_RELU: return act(std::integral_constant<Cell, RNN_RELU>());
        case GRU_BEFORE: return act(std::integral_constant<Cell, GRU_BEFORE>());
        case GRU_AFTER: return act(std::integral_constant<Cell, GRU_AFTER>());
        default: return act(std::integral_constant<Cell, LSTM>());
    }
}

extern "C" {

// Bytes of workspace that `minibatch` needs, aligned to 64; what is in them does not matter.
i64 workspace_bytes(const Sizes *sizes) {
    return with_cell(sizes->cell, [&](auto cell) {
        Workspace work{0};
        Network<cell()> network(*sizes, work);
        return work.used;
    });
}

// Tokens and targets (T, B), states (layer, part: (B, H)) moved on in place → mean cross-entropy in nats per scored
// token; with sizes.training also the gradients, where the parameters lie. −1 where a token is not in the vocabulary,
// or a target neither in it nor −1.
double minibatch(const Sizes *sizes, const i64 *places, const float *parameters, float *grads, const i64 *tokens,
                 const i64 *targets, float *const *states, char *workspace) {
    return with_cell(sizes->cell, [&](auto cell) {
        Workspace work{(uintptr_t)workspace};
        Network<cell()> network(*sizes, work);
        for (i64 n = 0; n < network.N; n++)
            if (tokens[n] < 0 || tokens[n] >= sizes->V || targets[n] < -1 || targets[n] >= sizes->V) return -1.0;
        return network.run({places}, parameters, grads, tokens, targets, states);
    });
}

// parameters −= lr · min(1, clip / ‖grads‖) · grads; the numbers of each, n, are a multiple of 32. Returns what is not
// finite, as ablate/models/divergence.py counts it: 0 nothing; 2 the norm, summed without overflow, and then nothing has
// moved; 3 a parameter after the update.
int clipped_descent(float *parameters, const float *grads, i64 n, float lr, float clip) {
    double sums[32] = {};
    for (i64 i = 0; i < n; i += 32)
        for (int j = 0; j < 32; j++) sums[j] += (double)grads[i + j] * grads[i + j];
    double squares = 0;
    for (int j = 0; j < 32; j++) squares += sums[j];
    const float norm = (float)std::sqrt(squares);
    if (!std::isfinite(norm)) return 2;
    const float rate = norm > clip ? lr * (clip / norm) : lr;
    const int32_t infinite = 0x7f800000;  // the exponent of infinities and NaN, larger than that of any number
    int32_t exponents = 0;
    for (i64 i = 0; i < n; i++) {
        const float moved = parameters[i] - rate * grads[i];
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
