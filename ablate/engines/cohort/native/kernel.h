// Networks of one cell, in float32 on one core, forward and back: one replica's minibatch, or one layer of it.
//
// The cell itself is `struct Cell`, written by generate.py from its equations (ablate/cells/derivative.py) after this
// header: how many states, products, gradients it has, and the pointwise functions that finish the tiles of a product.
//
// Axes: T steps, B sequences, N = T·B tokens, of which S are scored, H hidden units, V vocabulary, L lanes of a vector.
// Per layer, with X the input's share of the pre-activations, biases included: of tokens a row of W_x each, of real
// numbers a product with it, and of the outputs of the layer below the same product:
//
//   forward   for t = 1 … T, in each stage:   P = states_{t−1} W;   new values of X_t, P and the states
//   back      for t = T … 1, in each stage:   dS = dY_t + (direct path from t+1) + D_{t+1} Wᵀ;   D_t of dS
//   after     dW = Σ_t states_{t−1}ᵀ D_t;   dW_x = scatter-add of D by token, or Σ_n (what is read)_nᵀ D_n
//
// Layout: all that has a hidden or vocabulary axis is cut into panels of L units: [panel][row][slot][lane]. A row is
// a token, a word or a row of a weight matrix. So a tile's product delivers every pre-activation of L units for a few
// sequences at once; they become states, or gradients, before they leave the innermost cache. A gradient takes the
// place of a value that is no longer needed. Units beyond H are padding: weights of zero, and whatever the cell makes
// of that is set to zero where a product will read it.
//
// A token whose target is −1 is not scored. The output layer computes the rows of the S others only, moved together.
//
// No global state and no allocation: the caller brings the workspace. Compiled without -ffast-math, which would
// cancel the rounding constant of exp.

#pragma once

#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <utility>

#if defined(__AVX512F__)
#include <immintrin.h>
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
static inline vec load_anywhere(const float *p) {
    vec x;
    std::memcpy(&x, p, sizeof x);
    return x;
}
static inline void store_anywhere(float *p, vec x) { std::memcpy(p, &x, sizeof x); }
static inline i64 panels_of(i64 n) { return (n + L - 1) / L; }

// ---- functions -------------------------------------------------------------------------------------------------

// NaN stays NaN, because no comparison with it holds.
static inline vec clamped(vec x, float low, float high) {
#if defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)all(low), _mm512_min_ps((__m512)all(high), (__m512)x));
#else
    x = x > high ? all(high) : x;
    return x < low ? all(low) : x;
#endif
}

// Cephes' expf: x = n ln 2 + r, exp r by a polynomial.
static inline vec exp_(vec x) {
    x = clamped(x, -87.f, 88.f);
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

// a / b to two units in the last place, for b from 2⁻¹²⁶ to 2¹²⁶. Where a processor estimates 1 / b, one step of Newton's
// method from there takes less time than its division.
static inline vec quotient(vec a, vec b) {
#if defined(__AVX512F__)
    vec inverse = (vec)_mm512_rcp14_ps((__m512)b);
    inverse += inverse * (1.f - b * inverse);
    return a * inverse;
#else
    return a / b;
#endif
}

static inline vec sigmoid(vec x) { return quotient(all(1.f), 1.f + exp_(-x)); }

// Odd rational approximation on |x| < 7.9, beyond which tanh is ±1 in float32 (as in Eigen's ptanh).
static inline vec tanh_(vec x) {
    const float bound = 7.90531110763549805f;
    x = clamped(x, -bound, bound);
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
    return quotient(x * p, q);
}

// For equations: beyond the range of float32 infinite, or zero, as in torch.
static inline vec exponential(vec x) {
    const vec half = exp_(0.5f * x);
    return half * half;
}

static inline vec select(ivec condition, vec a, vec b) { return condition ? a : b; }
static inline vec number(ivec condition) { return select(condition, all(1.f), vec{}); }

// Where one is NaN, that.
static inline vec maximum(vec a, vec b) { return select((a > b) | (a != a), a, b); }
static inline vec minimum(vec a, vec b) { return select((a < b) | (a != a), a, b); }
static inline vec relu(vec a) { return a < 0.f ? vec{} : a; }
static inline vec absolute(vec a) { return (vec)((ivec)a & 0x7fffffff); }

static inline vec square_root(vec x) {
    for (int i = 0; i < L; i++) x[i] = std::sqrt(x[i]);
    return x;
}

// Cephes' logf: x = m 2ⁿ with m in [√½, √2), log m by a polynomial. Denormal numbers are first made normal.
static inline vec logarithm(vec x) {
    const ivec small = x < FLT_MIN;
    const ivec bits = (ivec)(small ? x * 8388608.f : x);
    ivec n = ((bits >> 23) & 255) - 126;
    vec m = (vec)((bits & 0x007fffff) | 0x3f000000);  // [½, 1)
    const ivec low = m < 0.707106781186547524f;
    n = n + low;  // −1 where true
    m = (low ? m + m : m) - 1.f;
    const vec exponent = __builtin_convertvector(n, vec) - (small ? all(23.f) : vec{});
    const vec square = m * m;
    vec p = all(7.0376836292e-2f);
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    vec y = p * m * square - exponent * 2.12194440e-4f - 0.5f * square;
    y = m + y + exponent * 0.693359375f;
    y = x == 0.f ? all(-INFINITY) : y;
    y = x < 0.f ? all(NAN) : y;
    return ((ivec)x & 0x7f800000) == 0x7f800000 ? (x < 0.f ? all(NAN) : x) : y;  // +∞ and NaN stay
}

// log(1 + eˣ) = max(x, 0) + log(1 + u) with u = e^−|x|; the rounding of 1 + u is divided out.
static inline vec softplus(vec x) {
    const vec u = exp_(-absolute(x)), w = 1.f + u;
    const vec log1p = w == 1.f ? u : logarithm(w) * u / (w - 1.f);
    return select(x > 0.f, x, select(x != x, x, vec{})) + log1p;
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

struct Panels {  // [panel][row][slot][lane]
    float *at = nullptr;
    i64 rows = 0;
    i64 width = 0;  // slots · L
    float *operator()(i64 panel, i64 row) const { return at + (panel * rows + row) * width; }
    Panels from(i64 row, i64 slot = 0) const { return {at + row * width + slot * L, rows, width}; }
};

// Rows of a register tile, given the vectors of a row.
constexpr int tile_rows(int vectors) {
    if (REGISTERS >= 32) return vectors == 1 ? 16 : vectors < 4 ? 8 : 6;
    return vectors == 1 ? 8 : vectors < 4 ? 4 : 2;
}

// What becomes of a tile: p[r·stride + g] for `rows` rows, the first of which is `row`.
typedef void (*Finish)(const void *with, i64 unit, i64 row, i64 rows, const vec *p, i64 stride);

// The left side of a product: parts whose k axes follow each other, each in `panels` panels of `width` numbers.
struct Operand {
    const float *at[16];  // PARTS_LIMIT in generate.py
    i64 panel[16];        // numbers from a panel to the next
    i64 parts, row;       // numbers from a row to the next
    Operand(const Panels &a) : parts(1), row(a.width) { at[0] = a.at, panel[0] = a.rows * a.width; }
    Operand(std::initializer_list<Panels> all) : parts(0), row(all.begin()->width) {
        for (const Panels &a : all) at[parts] = a.at, panel[parts++] = a.rows * a.width;
    }
};

// sum[r][u·G + g] += Σ_k a[row r][k] w[u][k][g]
template <int ROWS, int G, int U>
__attribute__((always_inline)) static inline void add_products(vec (&sum)[ROWS][U * G], const float *a, i64 a_row,
                                                               i64 a_panel, i64 panels, i64 width, const float *&w,
                                                               i64 w_panel) {
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
}

// out[r][u·G + g], of one part, or of MANY.
template <int ROWS, int G, int U, bool MANY>
__attribute__((noinline, noclone)) static void multiply(vec *__restrict out, const Operand &a, i64 row, i64 panels,
                                                        i64 width, const float *w, i64 w_panel) {
    vec sum[ROWS][U * G] = {};
    if constexpr (MANY) {
        for (i64 part = 0; part < a.parts; part++)
            add_products<ROWS, G, U>(sum, a.at[part] + row * a.row, a.row, a.panel[part], panels, width, w, w_panel);
    } else {
        add_products<ROWS, G, U>(sum, a.at[0] + row * a.row, a.row, a.panel[0], panels, width, w, w_panel);
    }
#pragma GCC unroll 16
    for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
        for (int c = 0; c < U * G; c++) out[r * U * G + c] = sum[r][c];
}

template <int ROWS, int G, int U, bool MANY>
static inline void tiles(i64 row, i64 rows, i64 unit, const Operand &a, i64 panels, i64 width, const float *w,
                         Finish finish, const void *with) {
    const i64 w_panel = a.parts * panels * width * G * L;
    vec out[ROWS * U * G];
    for (; row + ROWS <= rows; row += ROWS) {
        multiply<ROWS, G, U, MANY>(out, a, row, panels, width, w + unit * w_panel, w_panel);
        for (int u = 0; u < U; u++) finish(with, unit + u, row, ROWS, out + u * G, U * G);
    }
    constexpr int FEWER = ROWS > 8 ? 8 : ROWS > 4 ? 4 : ROWS / 2;
    if constexpr (ROWS > 1)
        if (row < rows) tiles<FEWER, G, U, MANY>(row, rows, unit, a, panels, width, w, finish, with);
}

// The gradient of weights, in panels or as the caller has it: unit, row and slot are the numbers from one to the next.
struct Gradient {
    float *at;
    i64 unit, row, slot;
    Gradient(const Panels &p) : at(p.at), unit(p.rows * p.width), row(p.width), slot(L) {}
    Gradient(float *plain, i64 row, i64 slot) : at(plain), unit(L), row(row), slot(slot) {}
};

#ifdef BF16
#include "bf16.h"
#endif

// Packed weights w[unit][k][gates], K rows of k, as the products below want them.
static void packed(float *w, i64 units, i64 K, i64 G) {
#ifdef BF16
    round_weights(w, units, K, G);
#endif
}

// `finish` for every row of `a` and every panel of units: row times w[unit][k][G].
template <int G, bool MANY = false>
static void product(i64 rows, i64 units, const Operand &a, i64 panels, i64 width, const float *w, Finish finish,
                    const void *with) {
#ifdef BF16
    tiled_product<G>(rows, units, a, panels, width, w, finish, with);
#else
    constexpr int U = G == 1 ? 2 : 1;
    i64 unit = 0;
    for (; unit + U <= units; unit += U)
        tiles<tile_rows(G * U), G, U, MANY>(0, rows, unit, a, panels, width, w, finish, with);
    if (U == 2 && unit < units) tiles<tile_rows(G), G, 1, MANY>(0, rows, unit, a, panels, width, w, finish, with);
#endif
}

// `Finish` that stores what came, in `to`, with a bias if there is one.
struct Store {
    Panels to;
    i64 slots;
    const float *bias = nullptr;  // [unit][slots of `bias_width`]
    i64 bias_width = 0;
};
static void store_rows(const void *with, i64 unit, i64 row, i64 rows, const vec *p, i64 stride) {
    const Store &s = *(const Store *)with;
    for (i64 r = 0; r < rows; r++, p += stride)
        for (i64 g = 0; g < s.slots; g++) {
            const vec b = s.bias ? load(s.bias + unit * s.bias_width + g * L) : vec{};
            store(s.to(unit, row + r) + g * L, p[g] + b);
        }
}

// out[i][c] = Σ_n a[n][i] b[n][c], over `tokens` rows; with `more` added to what is there.
template <int ROWS, int C>
__attribute__((noinline, noclone)) static void accumulate(float *out, i64 out_row, i64 out_slot, const float *a, i64 a_row,
                                                          const float *b, i64 b_row, i64 tokens, bool more) {
    vec sum[ROWS][C] = {};
    if (more)
#pragma GCC unroll 16
        for (int r = 0; r < ROWS; r++)
#pragma GCC unroll 8
            for (int c = 0; c < C; c++) sum[r][c] = load_anywhere(out + r * out_row + c * out_slot);
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
        for (int c = 0; c < C; c++) store_anywhere(out + r * out_row + c * out_slot, sum[r][c]);
}

// out[unit][i][c] = Σ_n a[n][i] b[unit][n][c] for C slots of b: the gradient of weights from the panels of both sides;
// with `more` added to what is there. Of a panel the first i, `numbers` and what fills a tile: a's lanes beyond are zero.
template <int C>
static void weight_gradient(const Gradient &out, const Panels &a, i64 a_panels, const Panels &b, i64 units, i64 N,
                            bool more, i64 numbers = L) {
#ifdef BF16
    return tiled_weight_gradient<C>(out, a, a_panels, b, units, N, more);
#endif
    constexpr int ROWS = tile_rows(C) < L ? tile_rows(C) : L;
    const i64 fit = (96 * 1024) / (a_panels * L);  // as many tokens as keep a's rows in the second-level cache
    const i64 block = fit < 64 ? 64 : fit;
    const bool few = N * units * b.width < 64 * 1024;  // of which b stays there, too: then `out` is written row by row
    for (i64 n = 0; n == 0 || n < N; n += block) {  // once at least: of no rows the gradient is zero
        const auto tile = [&](i64 unit, i64 p, i64 r) {
            accumulate<ROWS, C>(out.at + unit * out.unit + (p * L + r) * out.row, out.row, out.slot, a(p, n) + r, a.width,
                                b(unit, n), b.width, N - n < block ? N - n : block, more || n > 0);
        };
        for (i64 unit = 0; unit < units && !few; unit++)
            for (i64 p = 0; p < a_panels; p++)
                for (i64 r = 0; r < numbers; r += ROWS) tile(unit, p, r);
        for (i64 p = 0; p < a_panels && few; p++)
            for (i64 r = 0; r < numbers; r += ROWS)
                for (i64 unit = 0; unit < units; unit++) tile(unit, p, r);
    }
}

// ---- the caller's plain matrices -------------------------------------------------------------------------------

static i64 lanes_of(i64 panel, i64 units) { return units - panel * L < L ? units - panel * L : L; }

static void copy_rows(float *to, i64 to_row, const float *from, i64 from_row, i64 rows, i64 lanes) {
    if (lanes == L)
        for (i64 r = 0; r < rows; r++) std::memcpy(to + r * to_row, from + r * from_row, sizeof(vec));
    else
        for (i64 r = 0; r < rows; r++) std::memcpy(to + r * to_row, from + r * from_row, 4 * lanes);
}

// Plain rows of `units` numbers ↔ one slot of panels.
static void pack(const Panels &to, const float *from, i64 from_row, i64 rows, i64 units) {
    for (i64 p = 0; p < panels_of(units); p++)
        copy_rows(to(p, 0), to.width, from + p * L, from_row, rows, lanes_of(p, units));
}

static void unpack(float *to, i64 to_row, const Panels &from, i64 rows, i64 units) {
    for (i64 p = 0; p < panels_of(units); p++)
        copy_rows(to + p * L, to_row, from(p, 0), from.width, rows, lanes_of(p, units));
}

// Wᵀ as [unit of W's rows][k][result of `results`][lane], k running over W's columns in the order [panel][slot of
// `slots`][lane].
static void pack_transposed(float *to, i64 slot, i64 slots, i64 result, i64 results, const float *from, i64 from_row,
                            i64 rows, i64 columns) {
    const i64 row = results * L, k_panel = slots * L * row;
    for (i64 u = 0; u < panels_of(rows); u++)
        for (i64 p = 0; p < panels_of(columns); p++) {
            float *block = to + (u * panels_of(columns) + p) * k_panel + slot * L * row + result * L;
            const i64 n = lanes_of(u, rows), m = lanes_of(p, columns);
            for (i64 j = 0; j < n; j++) {
                const float *x = from + (u * L + j) * from_row + p * L;
                for (i64 i = 0; i < m; i++) block[i * row + j] = x[i];
            }
        }
}

// to[0 … n) += from, of one panel; `to` may lie anywhere.
static void add_lanes(float *to, const float *from, i64 n) {
    if (n == L) {
        vec x;
        std::memcpy(&x, to, sizeof x);
        x += load(from);
        std::memcpy(to, &x, sizeof x);
    } else {
        for (i64 i = 0; i < n; i++) to[i] += from[i];
    }
}

// ---- what `struct Cell` says of itself -------------------------------------------------------------------------

enum Array { OLD, NOW, INNER, OUTPUT };  // old states, new states, what else is multiplied, what is read out

struct Part {
    Array array;
    int number;
};

struct Group {  // the products of one operand; their gradients lie side by side from `slot` on
    int parts, products, slot;
    bool recurrent;  // of old states alone
    Part part[16];
};

struct Chunk {  // as many columns of a product as registers hold; forward of its products, back of its operand's parts
    int group, first, count;
    int column;  // of the scratch panels, where the result waits for that of the last chunk
};

constexpr int LAYERS_LIMIT = 16;  // LAYER_LIMIT in program.py

// The input's share: in panels, or plain rows of the caller's.
struct Shares {
    const float *at;
    i64 panel, row, slot;  // numbers from one to the next
    Shares() = default;
    Shares(const Panels &X) : at(X.at), panel(X.rows * X.width), row(X.width), slot(L) {}
    Shares(const float *plain, i64 H, i64 slots) : at(plain), panel(L), row(slots * H), slot(H) {}
};

// What one step reads and writes, from its first row on.
template <class C> struct Step {
    Panels old[C::STATES], now[C::STATES], carried[C::STATES], inner[C::INNERS + 1];
    Panels D, later, extra, output, above, vectors, scratch, d_vectors;  // later: D of the step after
    Shares X;
    const i64 *words;  // rows of X; null: one after the other
    const float *const *W, *const *W_T;
    bool last;
    i64 partial;  // the panel that is not full, or −1
    ivec lanes;   // of that panel, which are units
};

// Zero where there is no unit.
static void clear(const ivec &lanes, float *at, i64 row, i64 rows) {
    for (i64 r = 0; r < rows; r++) store(at + r * row, (vec)((ivec)load(at + r * row) & lanes));
}

// ---- networks --------------------------------------------------------------------------------------------------

struct Sizes {
    i64 T, B, H, V, layers, training, dropout, features;  // features: real numbers of a step, or 0: it is a token
};

struct Inputs {  // of a minibatch: tokens (T, B), or real numbers (T, B, features)
    const i64 *tokens;
    const float *numbers;
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
    Panels panels(i64 panels, i64 rows, i64 slots) { return {floats(panels * rows * slots * L), rows, slots * L}; }
};

struct Plain {  // a matrix of the caller's
    float *at;
    i64 row;  // numbers from a row to the next
};

template <class C> struct Network {
    struct Layer {
        Panels states[C::STATES], inner[C::INNERS + 1], X, D, extra, own_output, read, mask, bias, vectors;
        Shares shares;  // X, or the caller's own
        const float *W[C::FORTHS + 1], *W_T[C::BACKS + 1];
        float *W_x[C::INPUTS], *W_xT;  // of a product, W_x in chunks; W_xT above the first layer
        Panels dW[C::GROUPS + 1], dW_x, sums, d_vectors;
    };
    // The weights of a layer, or their gradients, where the caller has them.
    struct Weights {
        Plain product[C::PRODUCTS + 1], input[C::INPUTS];
        float *vector[C::VECTORS + 1], *b_x[C::INPUTS], *b_h[C::INPUTS];
    };
    using Of = Step<C>;

    const Sizes s;
    const i64 N, units, words;
    const bool tabled;  // X of the first layer's tokens: a row for each word, or for each token where these are fewer
    const bool alone;   // one layer without embedding and output
    bool reverse = false;  // of a layer alone: its first step is the caller's last
    Layer layer[LAYERS_LIMIT];
    Panels P, Y_scored, dY, carried[C::STATES], scratch, dW_out, W_rows;
    float *W_logits, *b_logits, *db;
    i64 *scored;  // S numbers of tokens, ascending
    i64 S = 0;

    Network(const Sizes &sizes, Workspace &work, bool alone = false)
        : s(sizes), N(s.T * s.B), units(panels_of(s.H)), words(panels_of(s.V)),
          tabled(!alone && !s.features && s.V <= N), alone(alone) {
        const i64 square = units * units * L * L;
        for (i64 l = 0; l < s.layers; l++) {
            Layer &y = layer[l];
            for (Panels &state : y.states) state = work.panels(units, C::RECURS ? N + s.B : s.B, 1);
            for (int k = 0; k < C::INNERS; k++) y.inner[k] = work.panels(units, N, 1);
            y.D = work.panels(units, N, C::SLOTS), y.extra = work.panels(units, N, C::EXTRAS);
            y.own_output = work.panels(units, N, C::OWN_OUTPUT);
            y.X = work.panels(units, alone && s.H % L == 0 ? 0 : l == 0 && tabled ? s.V : N, C::INPUTS);
            y.shares = y.X;
            y.bias = work.panels(units, 1, C::INPUTS), y.vectors = work.panels(units, 1, C::VECTORS);
            for (int i = 0; i < C::FORTHS; i++) y.W[i] = work.floats(square * parts_of(C::FORTH[i]) * C::FORTH[i].count);
            const i64 inputs = panels_of(inputs_of(l));
            if (multiplies(l))
                for (int g = 0; g < C::INPUTS; g += 4) y.W_x[g] = work.floats(units * inputs * L * L * input_chunk(g));
            if (multiplies(l) && (l == 0 || s.dropout)) y.read = work.panels(inputs, N, 1);
            if (l > 0 && s.dropout) y.mask = work.panels(units, N, 1);
            if (!s.training) continue;
            for (int i = 0; i < C::BACKS; i++)
                y.W_T[i] = work.floats(square * C::GROUP[C::BACK[i].group].products * C::BACK[i].count);
            y.W_xT = work.floats(l > 0 ? square * C::INPUTS : 0);
            for (int g = 0; g < C::GROUPS; g++)
                y.dW[g] = work.panels(direct() ? 0 : units, C::GROUP[g].parts * units * L, C::GROUP[g].products);
            y.dW_x = work.panels(units, multiplies(l) ? (direct(l) ? 0 : inputs * L) : tabled ? s.V : 0, C::INPUTS);
            y.sums = work.panels(units, 1, C::SLOTS), y.d_vectors = work.panels(units, 1, C::VECTORS);
        }
        scratch = work.panels(units, s.B, C::SCRATCH);
        if (s.training) {
            dY = work.panels(units, N, 1);
            for (Panels &each : carried) each = work.panels(units, s.B, 1);
        }
        if (alone) return;
        P = work.panels(words, N, 1);
        W_logits = work.floats(words * L * units * L), b_logits = work.floats(words * L), db = work.floats(words * L);
        if (s.training) W_rows = work.panels(units, words * L, 1), dW_out = work.panels(units, words * L, 1);
        Y_scored = work.panels(units, N, 1), scored = work.integers(N);
    }

    static constexpr i64 parts_of(const Chunk &c) { return C::GROUP[c.group].parts; }
    static constexpr i64 input_chunk(int first) { return C::INPUTS - first < 4 ? C::INPUTS - first : 4; }
    static constexpr int product_of(int group) {  // the number of its first one
        int count = 0;
        for (int g = 0; g < group; g++) count += C::GROUP[g].products;
        return count;
    }

    // Whether what a layer reads is multiplied by W_x, and not a choice of its rows; how many numbers that are at a step.
    bool multiplies(i64 l) const { return l > 0 || s.features; }
    i64 inputs_of(i64 l) const { return l > 0 ? s.H : s.features; }

    // How many of them a panel of the product has: fewer than a vector's are not filled up, where tiles do not ask for it.
    i64 width_of(i64 l) const {
#ifdef BF16
        return L;
#else
        return inputs_of(l) < L ? inputs_of(l) : L;
#endif
    }

    // What is read out of all steps.
    Panels output_of(Layer &y) { return C::OWN_OUTPUT ? y.own_output : y.states[0].from(s.B); }

    // ---- a layer: weights in panels, all steps forward, all steps back

    void prepare(Layer &y, const Weights &w) {
        const i64 H = s.H, square = units * units * L * L;
        for (int i = 0; i < C::FORTHS; i++) {
            const Chunk &c = C::FORTH[i];
            const Panels to{(float *)y.W[i], parts_of(c) * units * L, c.count * L};
            if (H % L) std::memset(to.at, 0, 4 * square * parts_of(c) * c.count);
            for (int k = 0; k < c.count; k++) {
                const Plain &from = w.product[product_of(c.group) + c.first + k];
                for (i64 part = 0; part < parts_of(c); part++)
                    pack(to.from(part * units * L, k), from.at + part * H * from.row, from.row, H, H);
            }
            packed(to.at, units, to.rows, c.count);
        }
        for (int i = 0; i < C::BACKS && s.training; i++) {
            const Chunk &c = C::BACK[i];
            const int products = C::GROUP[c.group].products;
            if (s.T == 1 && !alone && C::GROUP[c.group].recurrent && C::RECURS) continue;  // nothing goes back further
            if (H % L) std::memset((float *)y.W_T[i], 0, 4 * square * products * c.count);
            for (int k = 0; k < products; k++) {
                const Plain &from = w.product[product_of(c.group) + k];
                for (int part = 0; part < c.count; part++)
                    pack_transposed((float *)y.W_T[i], k, products, part, c.count,
                                    from.at + (c.first + part) * H * from.row, from.row, H, H);
            }
            packed((float *)y.W_T[i], units, products * units * L, c.count);
        }
        if (C::VECTORS) std::memset(y.vectors.at, 0, 4 * units * y.vectors.width);
        for (int k = 0; k < C::VECTORS; k++) pack(y.vectors.from(0, k), w.vector[k], 0, 1, H);
    }

    // The first of the caller's rows that are step t.
    i64 callers(i64 t) const { return (reverse ? s.T - 1 - t : t) * s.B; }

    // f(the caller's first row, ours, how many): all rows at once, or step by step in reverse.
    template <class F> void each_run(F f) const {
        if (!reverse) return f(0, 0, N);
        for (i64 t = 0; t < s.T; t++) f(callers(t), t * s.B, s.B);
    }

    Of step(Layer &y, i64 t, const i64 *tokens) {
        Of of;
        const i64 n0 = t * s.B;
        for (int j = 0; j < C::STATES; j++) {
            of.old[j] = y.states[j].from(C::RECURS ? n0 : 0);
            if (C::RECURS) of.now[j] = y.states[j].from(n0 + s.B);
            of.carried[j] = carried[j];
        }
        for (int k = 0; k < C::INNERS; k++) of.inner[k] = y.inner[k].from(n0);
        of.X = y.shares, of.words = tokens ? tokens + n0 : nullptr;
        if (!tokens) of.X.at += callers(t) * of.X.row;
        of.D = y.D.from(n0), of.later = y.D.from(n0 + s.B), of.extra = y.extra.from(n0), of.last = t == s.T - 1;
        of.output = y.own_output.from(n0), of.above = dY.from(n0);
        of.vectors = y.vectors, of.d_vectors = y.d_vectors, of.scratch = scratch;
        of.W = y.W, of.W_T = y.W_T;
        of.partial = s.H % L ? units - 1 : -1;
        for (int i = 0; i < L; i++) of.lanes[i] = i < lanes_of(units - 1, s.H) ? -1 : 0;
        return of;
    }

    static Panels source(const Of &of, const Part &part) {
        switch (part.array) {
            case OLD: return of.old[part.number];
            case NOW: return of.now[part.number];
            case INNER: return of.inner[part.number];
            default: return of.output;
        }
    }

    template <int I> void forth(const Of &of, Finish finish, const void *with) {
        constexpr Chunk c = C::FORTH[I];
        constexpr const Group &group = C::GROUP[c.group];
        Operand operand(source(of, group.part[0]));
        for (; operand.parts < group.parts; operand.parts++) {
            const Panels a = source(of, group.part[operand.parts]);
            operand.at[operand.parts] = a.at, operand.panel[operand.parts] = a.rows * a.width;
        }
        product<c.count, (group.parts > 1)>(s.B, units, operand, units, L, of.W[I], finish, with);
    }

    template <int I> void back(const Of &of, Finish finish, const void *with) {
        constexpr Chunk c = C::BACK[I];
        constexpr const Group &group = C::GROUP[c.group];
        const Panels D = (group.recurrent ? of.later : of.D).from(0, group.slot);
        product<c.count>(s.B, units, D, units, group.products * L, of.W_T[I], finish, with);
    }

    // A result that waits in the scratch panels, or the pointwise work on what waits there.
    template <int I> void forth(const Of &of) {
        const Store waits{of.scratch.from(0, C::FORTH[I].column), C::FORTH[I].count};
        forth<I>(of, store_rows, &waits);
    }
    template <int I> void back(const Of &of) {
        const Store waits{of.scratch.from(0, C::BACK[I].column), C::BACK[I].count};
        back<I>(of, store_rows, &waits);
    }
    void pointwise(const Of &of, Finish finish, i64 column) {
        for (i64 u = 0; u < units; u++)
            finish(&of, u, 0, s.B, (const vec *)of.scratch.from(0, column)(u, 0), C::SCRATCH);
    }

    void forward(Layer &y, float *const *states, const i64 *tokens) {
        for (int j = 0; j < C::STATES; j++) {
            for (i64 u = 0; u < units; u++) std::memset(y.states[j](u, 0), 0, 4 * s.B * L);
            pack(y.states[j], states[j], s.H, s.B, s.H);
        }
        for (i64 t = 0; t < s.T; t++) C::forward(*this, step(y, t, tokens));
    }

    // From dY, and what reaches the last states, (B, H) each (none: nothing) → D, dW, the vectors' gradients.
    void backward(Layer &y, const Weights &grads, const float *const *d_states = nullptr) {
        std::memset(scratch.at, 0, 4 * units * s.B * scratch.width);
        if (C::VECTORS) std::memset(y.d_vectors.at, 0, 4 * units * y.d_vectors.width);
        for (int j = 0; j < C::STATES; j++) {
            std::memset(carried[j].at, 0, 4 * units * s.B * L);
            const int column = C::INCOMING[j];
            if (d_states) pack(column < 0 ? carried[j] : scratch.from(0, column), d_states[j], s.H, s.B, s.H);
        }
        for (i64 t = s.T - 1; t >= 0; t--) C::backward(*this, step(y, t, nullptr));
        for (int g = 0; g < C::GROUPS; g++) {
            const Group &group = C::GROUP[g];
            const Panels D = y.D.from(0, group.slot);
            for (i64 part = 0; part < group.parts; part++) {
                const Part &of = group.part[part];
                const Plain &plain = grads.product[product_of(g)];
                const Gradient to = direct() ? Gradient(plain.at + part * s.H * plain.row, plain.row, s.H)
                                             : Gradient(y.dW[g].from(part * units * L));
                const bool again = of.array == OLD && !C::RECURS;  // the same states at each step
                for (i64 n = 0; n < N; n += again ? s.B : N)
                    weight_gradients(group.products, to, source(step(y, 0, nullptr), of), s.H, D.from(n), again ? s.B : N,
                                     n > 0);
            }
        }
    }

    // Whether gradients of weights are summed where the caller has them: there every unit fills a lane, and the products of
    // a group, or the inputs, lie side by side. Of a layer's W_x: and its rows fill panels.
    bool direct() const { return s.H % L == 0; }
    bool direct(i64 l) const { return direct() && inputs_of(l) % L == 0; }

    void weight_gradients(int slots, const Gradient &to, const Panels &a, i64 inputs, const Panels &b, i64 rows, bool more) {
        const i64 a_panels = panels_of(inputs), numbers = inputs < L ? inputs : L;
        for (int done = 0; done < slots;) {
            const int count = slots - done == 4 ? 2 : slots - done < 3 ? slots - done : 3;
            Gradient out = to;
            out.at += done * to.slot;
            const Panels right = b.from(0, done);
            if (count == 3) weight_gradient<3>(out, a, a_panels, right, units, rows, more, numbers);
            if (count == 2) weight_gradient<2>(out, a, a_panels, right, units, rows, more, numbers);
            if (count == 1) weight_gradient<1>(out, a, a_panels, right, units, rows, more, numbers);
            done += count;
        }
    }

    // After `backward`: what reaches the states before the first step.
    void first_states(Layer &y, float *const *d_states) {
        Panels sums[C::STATES];
        for (int j = 0; j < C::STATES; j++) {
            if (!C::CARRIED[j]) std::memset(carried[j].at, 0, 4 * units * s.B * L);
            sums[j] = carried[j];
        }
        Of of = step(y, 0, nullptr);
        of.later = of.D;
        if (C::RECURS) C::to_first_states(*this, of);
        for (int j = 0; j < C::STATES; j++) unpack(d_states[j], s.H, sums[j], s.B, s.H);
    }
    template <int I> void to_first_state(const Of &of) {
        constexpr Chunk c = C::BACK[I];
        back<I>(of);
        for (int part = 0; part < c.count; part++) {
            const Panels to = of.carried[C::GROUP[c.group].part[c.first + part].number];
            for (i64 u = 0; u < units; u++)
                for (i64 r = 0; r < s.B; r++)
                    store(to(u, r), load(to(u, r)) + load(of.scratch(u, r) + (c.column + part) * L));
        }
    }

    // The sums of the slots of D over all tokens, and those of the vectors.
    void sum_up(Layer &y) {
        for (i64 u = 0; u < units; u++) {
            vec sums[C::SLOTS] = {};
            for (i64 n = 0; n < N; n++) {
                const float *d = y.D(u, n);
                for (int k = 0; k < C::SLOTS; k++) sums[k] += load(d + k * L);
            }
            for (int k = 0; k < C::SLOTS; k++) store(y.sums(u, 0) + k * L, sums[k]);
        }
    }
    void unpack_weights(Layer &y, const Weights &to) {
        const i64 H = s.H;
        for (int g = 0; g < C::GROUPS && !direct(); g++)
            for (int k = 0; k < C::GROUP[g].products; k++)
                for (i64 part = 0; part < C::GROUP[g].parts; part++) {
                    const Plain &into = to.product[product_of(g) + k];
                    unpack(into.at + part * H * into.row, into.row, y.dW[g].from(part * units * L, k), H, H);
                }
        for (int k = 0; k < C::VECTORS; k++) {
            const int slot = C::VECTOR_SLOT[k];
            unpack(to.vector[k], 0, slot < 0 ? y.d_vectors.from(0, k) : y.sums.from(0, slot), 1, H);
        }
    }

    // ---- the input's share: rows of W_x by word or by token, or a product with real numbers, as the layer below puts out

    void input(i64 l, const Weights &w, const Inputs &inputs, const float *mask) {
        Layer &y = layer[l];
        const i64 H = s.H;
        std::memset(y.bias.at, 0, 4 * units * y.bias.width);
        for (int g = 0; g < C::INPUTS; g++)
            for (i64 i = 0; i < H; i++)
                y.bias(i / L, 0)[g * L + i % L] = w.b_x[g][i] + (w.b_h[g] ? w.b_h[g][i] : 0.f);
        if (multiplies(l)) {
            const Panels X = input_of(l);
            const i64 read = inputs_of(l), width = width_of(l), panels = panels_of(read), K = panels * width;
            if (l == 0) {
                if (read % L) std::memset(X.at, 0, 4 * panels * N * L);
                pack(X, inputs.numbers, read, N, read);
            }
            if (mask) {
                if (H % L) std::memset(y.mask.at, 0, 4 * units * N * L);
                pack(y.mask, mask, H, N, H);
                const Panels Y = output_of(layer[l - 1]);
                for (i64 u = 0; u < units; u++)
                    for (i64 n = 0; n < N; n++) store(X(u, n), load(Y(u, n)) * load(y.mask(u, n)));
            }
            for (int g = 0; g < C::INPUTS; g += 4) {
                const i64 count = input_chunk(g);
                const Panels to{y.W_x[g], K, count * L};
                if (H % L || read < K) std::memset(to.at, 0, 4 * units * K * count * L);
                for (int k = 0; k < count; k++) pack(to.from(0, k), w.input[g + k].at, w.input[g + k].row, read, H);
                packed(to.at, units, to.rows, count);
                const Store shares{y.X.from(0, g), count, y.bias.at + g * L, y.bias.width};
                if (count == 4) product<C::INPUTS < 4 ? 1 : 4>(N, units, X, panels, width, to.at, store_rows, &shares);
                if (count < 4) product<C::INPUTS % 4 ? C::INPUTS % 4 : 1>(N, units, X, panels, width, to.at, store_rows, &shares);
            }
            if (l > 0 && s.training) {
                if (H % L) std::memset(y.W_xT, 0, 4 * units * units * L * L * C::INPUTS);
                for (int g = 0; g < C::INPUTS; g++)
                    pack_transposed(y.W_xT, g, C::INPUTS, 0, 1, w.input[g].at, w.input[g].row, H, H);
                packed(y.W_xT, units, C::INPUTS * units * L, 1);
            }
            return;
        }
        if (H % L) std::memset(y.X.at, 0, 4 * units * y.X.rows * y.X.width);
        for (int g = 0; g < C::INPUTS; g++) {
            const Plain &W = w.input[g];
            if (tabled) pack(y.X.from(0, g), W.at, W.row, s.V, H);
            for (i64 u = 0; u < units && !tabled; u++)
                for (i64 n = 0; n < N; n++)
                    std::memcpy(y.X(u, n) + g * L, W.at + inputs.tokens[n] * W.row + u * L, 4 * lanes_of(u, H));
            for (i64 u = 0; u < units; u++) {
                const vec bias = load(y.bias(u, 0) + g * L);
                for (i64 r = 0; r < y.X.rows; r++) store(y.X(u, r) + g * L, load(y.X(u, r) + g * L) + bias);
            }
        }
    }

    // Of a layer that multiplies, what it reads.
    Panels input_of(i64 l) { return l == 0 || s.dropout ? layer[l].read : output_of(layer[l - 1]); }

    // The gradients of W_x and the biases; above the first layer dY for the one below.
    void input_gradients(i64 l, const Weights &to, const i64 *tokens) {
        Layer &y = layer[l];
        const i64 H = s.H;
        const Panels D = y.D.from(0, C::D_INPUTS);
        if (multiplies(l)) {
            const Plain &plain = to.input[0];
            const Gradient into = direct(l) ? Gradient(plain.at, plain.row, H) : Gradient(y.dW_x);
            weight_gradients(C::INPUTS, into, input_of(l), inputs_of(l), D, N, false);
        }
        if (l > 0) {
            const Store down{dY, 1};
            product<1>(N, units, D, units, C::INPUTS * L, y.W_xT, store_rows, &down);
            for (i64 u = 0; u < units && s.dropout; u++)
                for (i64 n = 0; n < N; n++) store(dY(u, n), load(dY(u, n)) * load(y.mask(u, n)));
        } else if (tabled) {
            std::memset(y.dW_x.at, 0, 4 * units * s.V * y.dW_x.width);
            for (i64 u = 0; u < units; u++)
                for (i64 n = 0; n < N; n++) {
                    float *word = y.dW_x(u, tokens[n]);
                    const float *d = D(u, n);
                    for (int g = 0; g < C::INPUTS; g++) store(word + g * L, load(word + g * L) + load(d + g * L));
                }
        } else if (!s.features) {
            for (int g = 0; g < C::INPUTS; g++)
                for (i64 v = 0; v < s.V; v++) std::memset(to.input[g].at + v * to.input[g].row, 0, 4 * H);
            for (i64 u = 0; u < units; u++)
                for (i64 n = 0; n < N; n++)
                    for (int g = 0; g < C::INPUTS; g++)
                        add_lanes(to.input[g].at + tokens[n] * to.input[g].row + u * L, D(u, n) + g * L, lanes_of(u, H));
        }
        for (int g = 0; g < C::INPUTS; g++) {
            if (multiplies(l) ? !direct(l) : tabled)
                unpack(to.input[g].at, to.input[g].row, y.dW_x.from(0, g), multiplies(l) ? inputs_of(l) : s.V, H);
            unpack(to.b_x[g], 0, y.sums.from(0, C::D_INPUTS + g), 1, H);
            if (to.b_h[g]) unpack(to.b_h[g], 0, y.sums.from(0, C::D_INPUTS + g), 1, H);
        }
    }

    // ---- the output layer

    void prepare_output(const float *W, const float *b) {
        std::memset(W_logits, 0, 4 * words * L * units * L);
        pack_transposed(W_logits, 0, 1, 0, 1, W, s.H, s.V, s.H);
        packed(W_logits, words, units * L, 1);
        for (i64 v = 0; v < words * L; v++) b_logits[v] = v < s.V ? b[v] : -FLT_MAX;  // no word: probability 0
        if (s.training) {
            std::memset(W_rows.at, 0, 4 * units * W_rows.rows * L);
            pack(W_rows, W, s.H, s.V, s.H);
            packed(W_rows.at, units, words * L, 1);
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

    struct Scatter {
        Panels to;
        const i64 *row;
    };
    static void scatter_rows(const void *with, i64 unit, i64 row, i64 rows, const vec *p, i64 stride) {
        const Scatter &s = *(const Scatter *)with;
        for (i64 r = 0; r < rows; r++) store(s.to(unit, s.row[row + r]), p[r * stride]);
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
            const Store biased{logits, 1, b_logits, L};
            product<1>(rows, words, Y.from(n0), units, L, W_logits, store_rows, &biased);
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
            const Scatter down{dY, scored + n0};
            product<1>(rows, units, logits, words, L, W_rows.at, scatter_rows, &down);
        }
        return S ? loss / S : 0;
    }

    void output_gradients(const Panels &Y, float *W, float *b) {
        weight_gradient<1>(dW_out, P, words, Y, units, S, false);
        unpack(W, s.H, dW_out, s.V, s.H);
        for (i64 v = 0; v < words; v++) {
            vec sum = {};
            for (i64 n = 0; n < S; n++) sum += load(P(v, n));
            store(db + v * L, sum);
        }
        std::memcpy(b, db, 4 * s.V);
    }

    // ---- all of it

    // Where the caller's tensors lie from `w` on. Per layer: W_x, its row, b_x, b_h (at < 0: none) of each input;
    // the matrix and its row of each product; each vector. Then the output's W and b.
    static constexpr i64 PLACES = 4 * C::INPUTS + 2 * C::PRODUCTS + C::VECTORS;
    static Weights weights(const i64 *places, i64 l, const float *from) {
        const i64 *at = places + l * PLACES;
        float *const w = (float *)from;
        Weights out;
        for (int g = 0; g < C::INPUTS; g++, at += 4) {
            out.input[g] = {w + at[0], at[1]};
            out.b_x[g] = w + at[2], out.b_h[g] = at[3] < 0 ? nullptr : w + at[3];
        }
        for (int k = 0; k < C::PRODUCTS; k++, at += 2) out.product[k] = {w + at[0], at[1]};
        for (int k = 0; k < C::VECTORS; k++, at++) out.vector[k] = w + at[0];
        return out;
    }

    double run(const i64 *places, const float *w, float *grads, const Inputs &inputs, const i64 *targets,
               float *const *states, const float *const *masks) {
        const i64 *ends = places + s.layers * PLACES;
        for (i64 l = 0; l < s.layers; l++) {
            Layer &y = layer[l];
            const Weights own = weights(places, l, w);
            prepare(y, own);
            input(l, own, inputs, l > 0 && s.dropout ? masks[l - 1] : nullptr);
            float *const *of = states + l * C::STATES;
            forward(y, of, l == 0 && tabled ? inputs.tokens : nullptr);
            for (int j = 0; j < C::STATES && C::RECURS; j++) unpack(of[j], s.H, y.states[j].from(N), s.B, s.H);
        }
        prepare_output(w + ends[0], w + ends[1]);
        const Panels Y = choose(output_of(layer[s.layers - 1]), targets);
        const double loss = output(Y, targets);
        if (!s.training) return loss;
        output_gradients(Y, grads + ends[0], grads + ends[1]);
        for (i64 l = s.layers - 1; l >= 0; l--) {
            const Weights own = weights(places, l, grads);
            backward(layer[l], own);
            sum_up(layer[l]);
            unpack_weights(layer[l], own);
            input_gradients(l, own, inputs.tokens);
        }
        return loss;
    }

    // One layer by itself. Plain arrays: shares (T, B, inputs·H), states and d_states (B, H) each, matrices
    // (parts·H, products·H) one for each group, vectors (H,) each, outputs (T, B, H). What `layer_forward` leaves in the
    // workspace is what `layer_backward` goes on from. `reversed`: from the last step to the first, all in the caller's
    // order.
    static Weights weights(i64 H, float *const *matrices, float *const *vectors) {
        Weights out;
        int k = 0;
        for (int g = 0; g < C::GROUPS; g++)
            for (int i = 0; i < C::GROUP[g].products; i++) out.product[k++] = {matrices[g] + i * H, C::GROUP[g].products * H};
        for (k = 0; k < C::VECTORS; k++) out.vector[k] = vectors[k];
        return out;
    }

    void layer_forward(bool reversed, const float *shares, float *const *states, float *const *matrices,
                       float *const *vectors, float *outputs, float *const *new_states) {
        Layer &y = layer[0];
        reverse = reversed;
        const i64 H = s.H;
        prepare(y, weights(H, matrices, vectors));
        if (H % L == 0) {
            y.shares = Shares(shares, H, C::INPUTS);
        } else {  // a vector would reach beyond the last row
            std::memset(y.X.at, 0, 4 * units * N * y.X.width);
            for (int g = 0; g < C::INPUTS; g++) pack(y.X.from(0, g), shares + g * H, C::INPUTS * H, N, H);
        }
        forward(y, states, nullptr);
        each_run([&](i64 theirs, i64 own, i64 rows) { unpack(outputs + theirs * H, H, output_of(y).from(own), rows, H); });
        for (int j = 0; j < C::STATES; j++) unpack(new_states[j], H, y.states[j].from(C::RECURS ? N : 0), s.B, H);
    }

    void layer_backward(bool reversed, const float *d_outputs, const float *const *d_new_states, float *d_shares,
                        float *const *d_states, float *const *d_matrices, float *const *d_vectors) {
        Layer &y = layer[0];
        reverse = reversed;
        const i64 H = s.H;
        if (H % L) std::memset(dY.at, 0, 4 * units * N * L);
        each_run([&](i64 theirs, i64 own, i64 rows) { pack(dY.from(own), d_outputs + theirs * H, H, rows, H); });
        const Weights own = weights(H, d_matrices, d_vectors);
        backward(y, own, d_new_states);
        sum_up(y);
        unpack_weights(y, own);
        const i64 row = C::INPUTS * H;
        each_run([&](i64 theirs, i64 own, i64 rows) {
            for (int g = 0; g < C::INPUTS; g++)
                unpack(d_shares + theirs * row + g * H, row, y.D.from(own, C::D_INPUTS + g), rows, H);
        });
        first_states(y, d_states);
    }
};
