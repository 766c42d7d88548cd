// precision=bf16: the products of kernel.h with factors rounded to bfloat16 and sums in float32, on the tiles of AMX
// or, where a CPU has none, by the instructions of AVX512-BF16 on the same tiles in memory.
// Weights, states, gates and gradients stay float32; a minibatch rounds the weights once, and rows as it reads them.
//
// A tile is 16 rows of 32 numbers: of the left side 16 rows and 32 numbers of k; of the right side 16 pairs of k, the
// two numbers of a pair side by side for each of 16 columns.

#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef uint16_t bf16;
constexpr i64 TILE = 512;  // numbers

static inline i64 blocks_of(i64 n) { return (n + 31) / 32; }

// Room for rounded numbers, kept by each thread.
static bf16 *room_for(i64 tiles) {
    struct Room {
        bf16 *at = nullptr;
        i64 tiles = 0;
        ~Room() { std::free(at); }
    };
    static thread_local Room room;
    if (tiles > room.tiles) {
        std::free(room.at);
        room.at = (bf16 *)std::aligned_alloc(64, tiles * TILE * sizeof(bf16)), room.tiles = tiles;
    }
    return room.at;
}

// Lanes of x and y, rounded and side by side: x0 y0 x1 y1 …
static inline __m512i pairs(vec x, vec y) {
    alignas(64) static const uint16_t order[32] = {0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                                                   8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh((__m512)y, (__m512)x);
    return _mm512_permutexvar_epi16(*(const __m512i *)order, halves);
}

static inline void transpose(__m512i (&m)[16]) {
    __m512i t[16];
    for (int i = 0; i < 16; i += 2)
        t[i] = _mm512_unpacklo_epi32(m[i], m[i + 1]), t[i + 1] = _mm512_unpackhi_epi32(m[i], m[i + 1]);
    for (int i = 0; i < 16; i += 4)
        for (int j = 0; j < 2; j++) {
            m[i + 2 * j] = _mm512_unpacklo_epi64(t[i + j], t[i + 2 + j]);
            m[i + 2 * j + 1] = _mm512_unpackhi_epi64(t[i + j], t[i + 2 + j]);
        }
    for (int i = 0; i < 16; i += 8)
        for (int j = 0; j < 4; j++) {
            t[i + j] = _mm512_shuffle_i32x4(m[i + j], m[i + 4 + j], 0x88);
            t[i + 4 + j] = _mm512_shuffle_i32x4(m[i + j], m[i + 4 + j], 0xdd);
        }
    for (int j = 0; j < 8; j++) {
        m[j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0x88);
        m[8 + j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0xdd);
    }
}

// Packed weights w[unit][k][g][lane], K rows of k → tiles [unit][block of k][g], in the same place: they need no more.
static void round_weights(float *w, i64 units, i64 K, i64 G) {
    bf16 *to = (bf16 *)w;
    __m512i tiles[16 * 4];
    for (i64 u = 0; u < units; u++)
        for (i64 b = 0; b < blocks_of(K); b++) {
            for (i64 g = 0; g < G; g++)
                for (i64 pair = 0; pair < 16; pair++) {
                    const i64 k = 32 * b + 2 * pair;
                    const float *row = w + ((u * K + k) * G + g) * L;
                    tiles[g * 16 + pair] = pairs(k < K ? load(row) : vec{}, k + 1 < K ? load(row + G * L) : vec{});
                }
            for (i64 i = 0; i < 16 * G; i++, to += 32) _mm512_storeu_si512(to, tiles[i]);
        }
}

// The sums of a0 and b0, a1 and b0, a0 and b1, a1 and b1, tiles of 16 rows with `row` numbers from one to the next. A
// place that is null takes none: then a side has no second tile.
struct Sums {
    float *a0_b0, *a1_b0, *a0_b1, *a1_b1;
    i64 row;
};

#ifdef __AMX_BF16__

// Whether the system lets this process use tiles: it has to be asked.
static bool tiles_allowed() {
    return syscall(SYS_arch_prctl, 0x1023 /* ARCH_REQ_XCOMP_PERM */, 18 /* tile data */) == 0;
}

struct Tiles {  // for as long as it lives, in this thread
    Tiles() {
        struct {
            uint8_t palette, start_row, reserved[14];
            uint16_t bytes[16];
            uint8_t rows[16];
        } shape = {1, 0, {}, {}, {}};
        for (int i = 0; i < 8; i++) shape.bytes[i] = 64, shape.rows[i] = 16;
        _tile_loadconfig(&shape);
    }
    ~Tiles() { _tile_release(); }
};

// GCC pastes the number of a tile into the instruction as it is written here, so that no template can give it.
#define BEGIN_TILE(number, from)              \
    do {                                      \
        if ((from) && more)                   \
            _tile_loadd(number, from, bytes); \
        else                                  \
            _tile_zero(number);               \
    } while (0)


// Products of tiles of `blocks` blocks of k, added to what is there if `more`.
static inline void multiply_tiles(i64 blocks, const bf16 *a0, const bf16 *a1, const bf16 *b0, const bf16 *b1,
                                  i64 b_step, const Sums &to, bool more) {
    const i64 bytes = 4 * to.row;
    BEGIN_TILE(0, to.a0_b0);
    BEGIN_TILE(1, to.a1_b0);
    BEGIN_TILE(2, to.a0_b1);
    BEGIN_TILE(3, to.a1_b1);
    for (i64 k = 0; k < blocks; k++, a0 += TILE, a1 += TILE, b0 += b_step, b1 += b_step) {
        _tile_loadd(4, a0, 64);
        _tile_loadd(5, a1, 64);
        _tile_loadd(6, b0, 64);
        _tile_loadd(7, b1, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 5, 6);
        _tile_dpbf16ps(2, 4, 7);
        _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, to.a0_b0, bytes);
    if (to.a1_b0) _tile_stored(1, to.a1_b0, bytes);
    if (to.a0_b1) _tile_stored(2, to.a0_b1, bytes);
    if (to.a1_b1) _tile_stored(3, to.a1_b1, bytes);
}

#else

struct Tiles {};
static bool tiles_allowed() { return true; }

constexpr int AT_ONCE = 8;  // rows of a tile: with two columns their sums take half of the registers

// A tile's rows with one column or two.
template <int COLUMNS>
static inline void multiply_rows(i64 blocks, const bf16 *a, const bf16 *const (&b)[2], i64 b_step,
                                 float *const (&to)[2], i64 row, bool more) {
    for (int first = 0; first < 16; first += AT_ONCE) {
        __m512 sums[COLUMNS][AT_ONCE];
        for (int c = 0; c < COLUMNS; c++)
            for (int r = 0; r < AT_ONCE; r++)
                sums[c][r] = more ? _mm512_loadu_ps(to[c] + (first + r) * row) : _mm512_setzero_ps();
        for (i64 k = 0; k < blocks; k++)
            for (int pair = 0; pair < 16; pair++) {
                __m512bh y[COLUMNS];
                for (int c = 0; c < COLUMNS; c++) y[c] = (__m512bh)_mm512_loadu_si512(b[c] + k * b_step + 32 * pair);
                for (int r = 0; r < AT_ONCE; r++) {
                    int two;
                    std::memcpy(&two, a + k * TILE + 32 * (first + r) + 2 * pair, sizeof(two));
                    const __m512bh x = (__m512bh)_mm512_set1_epi32(two);
                    for (int c = 0; c < COLUMNS; c++) sums[c][r] = _mm512_dpbf16_ps(sums[c][r], y[c], x);
                }
            }
        for (int c = 0; c < COLUMNS; c++)
            for (int r = 0; r < AT_ONCE; r++) _mm512_storeu_ps(to[c] + (first + r) * row, sums[c][r]);
    }
}

// Products of tiles of `blocks` blocks of k, added to what is there if `more`.
static inline void multiply_tiles(i64 blocks, const bf16 *a0, const bf16 *a1, const bf16 *b0, const bf16 *b1,
                                  i64 b_step, const Sums &to, bool more) {
    const bf16 *const b[2] = {b0, b1}, *const a[2] = {a0, a1};
    float *const at[2][2] = {{to.a0_b0, to.a0_b1}, {to.a1_b0, to.a1_b1}};
    for (int half = 0; half < 2 && at[half][0]; half++)
        if (at[half][1])
            multiply_rows<2>(blocks, a[half], b, b_step, at[half], to.row, more);
        else
            multiply_rows<1>(blocks, a[half], b, b_step, at[half], to.row, more);
}

#endif

// As the product of floats, of weights that `round_weights` has rounded.
template <int G>
static void tiled_product(i64 rows, i64 units, const Operand &a, i64 panels, i64 width, const float *weights,
                          Finish finish, const void *with) {
    constexpr int U = G % 2 ? 2 : 1;
    const i64 per_panel = width / L, per_part = panels * per_panel, K = a.parts * panels * width, blocks = blocks_of(K);
    const bf16 *w = (const bf16 *)weights;
    bf16 *const room = room_for(2 * blocks), *const lower = room + blocks * TILE;
    vec out[32][U * G];
    const auto chunk = [&](i64 j) {     // of k, 16 numbers wide: where it begins in the first row
        return a.at[j / per_part] + j % per_part / per_panel * a.panel[j / per_part] + j % per_panel * L;
    };
    for (i64 row = 0; row < rows; row += 32) {
        const i64 there = rows - row < 32 ? rows - row : 32;
        for (i64 b = 0; b < blocks; b++) {
            const float *left = chunk(2 * b) + row * a.row;
            const float *right = 16 * (2 * b + 1) < K ? chunk(2 * b + 1) + row * a.row : nullptr;
            for (i64 r = 0; r < 32; r++) {
                const vec x = r < there ? load(left + r * a.row) : vec{};
                const vec y = r < there && right ? load(right + r * a.row) : vec{};
                bf16 *const to = room + (r / 16 * blocks + b) * TILE + r % 16 * 32;
                *(__m512bh *)to = _mm512_cvtne2ps_pbh((__m512)y, (__m512)x);
            }
        }
        for (i64 unit = 0; unit < units; unit += U) {
            const int columns = units - unit < U ? G : U * G;
            for (int c = 0; c < columns; c += 2) {
                const bool two = c + 1 < columns;
                const bf16 *w0 = w + ((unit + c / G) * blocks * G + c % G) * TILE;
                const bf16 *w1 = two ? w + ((unit + (c + 1) / G) * blocks * G + (c + 1) % G) * TILE : w0;
                float *const sums = (float *)&out[0][c], *const below = (float *)&out[16][c];
                const Sums to = {sums, below, two ? sums + L : nullptr, two ? below + L : nullptr, U * G * L};
                multiply_tiles(blocks, room, lower, w0, w1, G * TILE, to, false);
            }
            for (int u = 0; u * G < columns; u++) finish(with, unit + u, row, there, &out[0][u * G], U * G);
        }
    }
}

// As the weight gradient of floats.
template <int C>
static void tiled_weight_gradient(const Gradient &out, const Panels &a, i64 a_panels, const Panels &b, i64 units, i64 N,
                                  bool more) {
    const i64 blocks = blocks_of(N), columns = units * C;
    bf16 *left = room_for((a_panels + columns) * blocks), *right = left + a_panels * blocks * TILE;
    for (i64 n = 0; n < blocks; n++) {
        for (i64 p = 0; p < a_panels; p++) {
            __m512i m[16];
            for (i64 pair = 0; pair < 16; pair++) {
                const i64 k = 32 * n + 2 * pair;
                m[pair] = pairs(k < N ? load(a(p, k)) : vec{}, k + 1 < N ? load(a(p, k + 1)) : vec{});
            }
            transpose(m);
            for (int i = 0; i < 16; i++) _mm512_storeu_si512(left + (p * blocks + n) * TILE + 32 * i, m[i]);
        }
        for (i64 c = 0; c < columns; c++)
            for (i64 pair = 0; pair < 16; pair++) {
                const i64 k = 32 * n + 2 * pair;
                const float *row = b(c / C, k) + c % C * L;
                const vec x = k < N ? load(row) : vec{}, y = k + 1 < N ? load(row + b.width) : vec{};
                _mm512_storeu_si512(right + (c * blocks + n) * TILE + 32 * pair, pairs(x, y));
            }
    }
    const auto at = [&](i64 panel, i64 column) {
        const bool there = panel < a_panels && column < columns;
        return there ? out.at + column / C * out.unit + panel * L * out.row + column % C * out.slot : nullptr;
    };
    for (i64 c = 0; c < columns; c += 2)
        for (i64 p = 0; p < a_panels; p += 2) {
            const i64 c1 = c + 1 < columns ? c + 1 : c, p1 = p + 1 < a_panels ? p + 1 : p;
            const bf16 *a0 = left + p * blocks * TILE, *a1 = left + p1 * blocks * TILE;
            const bf16 *b0 = right + c * blocks * TILE, *b1 = right + c1 * blocks * TILE;
            const Sums to = {at(p, c), at(p + 1, c), at(p, c + 1), at(p + 1, c + 1), out.row};
            multiply_tiles(blocks, a0, a1, b0, b1, TILE, to, more);
        }
}
