/* IQ4_NL and IQ4_XS: weight = scale * one of 16 values that lie closer together near zero.
 *
 * Source: quantize_row_iq4_nl_impl. A block of IQ4_NL is a half and 32 codes of 4 bits. One of
 * IQ4_XS is a half d, 8 scales of 6 bits (first the 16 high bits), and 8 times 32 codes.
 */
#include "tile.h"

#define SIZE 32
#define TRIALS 7
#define LEAST 1e-15f  /* GROUP_MAX_EPS: a sub-block below this is zero */

/* kvalues_iq4nl of ggml-common.h (MIT licence, copyright 2023-2026 The ggml authors) */
#define LOWEST -127.f
static const float VALUES[16] = {LOWEST, -104, -83, -65, -49, -35, -22, -10,
                                 1, 13, 25, 38, 53, 69, 89, 113};

/* best_index_int8 takes the nearest value, of two as near the upper one. All its subtractions are
 * exact near the middle between two values, so that the code is the number of middles that are not
 * above v. Not for NaN, of which ggml makes 15. */
static const float MIDDLES[15] = {-115.5f, -93.5f, -74, -57, -42, -28.5f, -16, -4.5f,
                                  7, 19, 31.5f, 45.5f, 61, 79, 101};

#if defined(__AVX2__)
/* Middles, and values, as tables for lookup. */
static const float QUARTERS[16] = {-57, 45.5f, -57, 45.5f, -57, 45.5f, -57, 45.5f,
                                   -57, 45.5f, -57, 45.5f, -57, 45.5f, -57, 45.5f};
static const float EIGHTHS[16] = {-93.5f, -28.5f, 19, 79, -93.5f, -28.5f, 19, 79,
                                  -93.5f, -28.5f, 19, 79, -93.5f, -28.5f, 19, 79};
static const float SIXTEENTHS[16] = {-115.5f, -74, -42, -16, 7, 31.5f, 61, 101,
                                     -115.5f, -74, -42, -16, 7, 31.5f, 61, 101};

/* table[index % LANES] */
INLINE vf lookup(const float *table, vi index) {
#if LANES == 16
    return (vf)_mm512_permutexvar_ps((__m512i)index, _mm512_loadu_ps(table));
#else
    return (vf)_mm256_permutevar8x32_ps(_mm256_loadu_ps(table), (__m256i)index);
#endif
}

/* By halving four times: the middle to compare with comes from a table each time. */
INLINE vi code_of(vf v) {
    vi code = -(v >= MIDDLES[7]);
    code = code + code - (v >= lookup(QUARTERS, code));
    code = code + code - (v >= lookup(EIGHTHS, code));
    return code + code - (v >= lookup(SIXTEENTHS, code));
}

INLINE vf value_of(vi code) {
#if LANES == 16
    return lookup(VALUES, code);
#else
    return vselect(code > 7, lookup(VALUES + 8, code), lookup(VALUES, code));
#endif
}
#else
INLINE vi code_of(vf v) {
    vi code = isplat(0);
    for (int i = 0; i < 15; i++) code -= v >= MIDDLES[i];
    return code;
}

INLINE vf value_of(vi code) {
    vf value = splat(LOWEST);
    for (int i = 1; i < 16; i++) value = vselect(code >= i, splat(VALUES[i]), value);
    return value;
}
#endif

/* The value nearest to v, and its product with w, summed up. */
struct sums {
    vf qx, q2;
};

INLINE struct sums sums_of(const vf *x, const vf *weights, vf iscale) {
    struct sums sums = {splat(0), splat(0)};
    for (int i = 0; i < SIZE; i++) {
        vf q = value_of(code_of(iscale * x[i]));
        vf wq = weights[i] * q;
        sums.qx += wq * x[i];
        sums.q2 += wq * q;
    }
    return sums;
}

/* The scale of a sub-block: of those that give the extreme weight a value of -127 + trial, and the
 * first with 127, the one that leaves the smallest error once it is fitted by least squares. */
INLINE vf fit_sub_block(const vf *x, const vf *importance, vf sigma2, vi *undone) {
    vf weights[SIZE], max = splat(0), largest = splat(0);
    if (importance)
        weigh(x, importance, sigma2, SIZE, weights);
    else
        for (int i = 0; i < SIZE; i++) weights[i] = x[i] * x[i];
    for (int i = 0; i < SIZE; i++) {
        vf magnitude = vabs(x[i]);
        max = vselect(magnitude > largest, x[i], max);
        largest = vmax(magnitude, largest);
    }
    vi is_zero = largest < LEAST;
    max = vselect(is_zero, splat(1), max);

    struct sums sums = sums_of(x, weights, 1 / (-max / LOWEST));
    *undone |= ~(is_finite(sums.qx) & is_finite(sums.q2));
    vf scale = vselect(sums.q2 > 0, sums.qx / sums.q2, splat(0));
    vf best = scale * sums.qx;
    for (int trial = -TRIALS; trial <= TRIALS; trial++) {
        sums = sums_of(x, weights, (trial + LOWEST) / max);
        vi wins = (sums.q2 > 0) & (sums.qx * sums.qx > best * sums.q2);
        vf fitted = sums.qx / sums.q2;
        scale = vselect(wins, fitted, scale);
        best = vselect(wins, fitted * sums.qx, best);
    }
    return vselect(is_zero, splat(0), scale);
}

/* 1 / d, and 0 for 0 */
INLINE vf inverse_of(vf d, vi *undone) {
    vi is_zero = d == 0;
    vf inverse = vselect(is_zero, splat(0), 1 / d);
    *undone |= ~is_finite(inverse);
    return inverse;
}

INLINE void code_weights(const vf *x, vf iscale, vi *words) {
    vi codes[SIZE];
    for (int i = 0; i < SIZE; i++) codes[i] = code_of(iscale * x[i]);
    pack_nibbles(codes, words);
}

vi quantize_iq4_nl(const struct tile *tile, uint8_t *out) {
    vi undone = isplat(0), words[4];
    vf sigma2 = sum_of_squares(tile->x, SIZE) * (2.f / SIZE);
    vf scale = fit_sub_block(tile->x, tile->has_importance ? tile->importance : 0,
                             sigma2, &undone);
    code_weights(tile->x, inverse_of(scale, &undone), words);
    store_half(out, 18, 0, half_bits(scale));
    store_words(out, 18, 2, words, 4);
    return undone;
}

vi quantize_iq4_xs(const struct tile *tile, uint8_t *out) {
    vi undone = isplat(0), words[2 + MAX_BLOCK / 8];
    vf scales[8], extreme = splat(0), largest = splat(0);
    vf sigma2 = sum_of_squares(tile->x, MAX_BLOCK) * (2.f / MAX_BLOCK);
    for (int j = 0; j < 8; j++) {
        scales[j] = fit_sub_block(tile->x + SIZE * j,
                                  tile->has_importance ? tile->importance + SIZE * j : 0,
                                  sigma2, &undone);
        vf magnitude = vabs(scales[j]);
        extreme = vselect(magnitude > largest, scales[j], extreme);
        largest = vmax(magnitude, largest);
    }
    vf d = -extreme / 32;
    vf id = inverse_of(d, &undone);
    vi high_bits = isplat(0), low_bits = isplat(0);
    for (int j = 0; j < 8; j++) {
        vf code = nearest_limited(id * scales[j], -32, 31);
        code_weights(tile->x + SIZE * j, inverse_of(d * code, &undone), words + 2 + 4 * j);
        vi stored = to_int(code) + 32;
        low_bits |= (stored & 15) << 4 * j;
        high_bits |= (stored >> 4) << 2 * j;
    }
    words[0] = half_bits(d) | high_bits << 16;
    words[1] = low_bits;
    store_words(out, 136, 0, words, 2 + MAX_BLOCK / 8);
    return undone;
}
