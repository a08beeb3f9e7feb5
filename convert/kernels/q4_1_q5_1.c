/* Q4_1 and Q5_1: weight = d * code + m, codes of 4 and 5 bits.
 *
 * Source: quantize_row_q4_1_ref, quantize_row_q4_1_impl, and the same of Q5_1. A block is the
 * halves d and m, for Q5_1 the 32 high bits of the codes, and their low 4 bits.
 */
#include <float.h>

#include "affine.h"

#define SIZE 32

/* Without a matrix: the codes divide the range from the lowest to the highest weight. */
INLINE void code_by_range(const vf *x, float top, vi *codes, vf *d, vf *m, vi *undone) {
    vf low = splat(FLT_MAX), high = splat(-FLT_MAX);
    for (int i = 0; i < SIZE; i++) {
        low = vmin(x[i], low);
        high = vmax(x[i], high);
    }
    *d = (high - low) / top;
    *m = low;
    vf id = vselect(*d == 0, splat(0), 1 / *d);
    *undone |= ~is_finite(id);
    for (int i = 0; i < SIZE; i++)
        codes[i] = imin(truncate_float((x[i] - low) * id + 0.5f) & 255, isplat((int)top));
}

/* With a matrix: the best of several scales and minima. */
INLINE void code_by_search(const struct tile *tile, float top, vi *codes, vf *d, vf *m,
                           vi *undone) {
    const struct search how = {SIZE, top, -0.9f, 0.05f, 36, 0};
    vf weights[SIZE];
    weigh(tile->x, tile->importance, tile->row_mean_square, SIZE, weights);
    struct fit fit = fit_sub_block(tile->x, weights, how);
    *d = fit.scale;
    *m = -fit.minimum;
    *undone |= fit.undone;
    for (int i = 0; i < SIZE; i++)
        codes[i] = to_int(code_of(tile->x[i], fit.iscale, fit.base, top));
}

/* Returns d and m as one word. */
INLINE vi code_block(const struct tile *tile, float top, vi *codes, vi *undone) {
    vf d, m;
    if (tile->has_importance) code_by_search(tile, top, codes, &d, &m, undone);
    else code_by_range(tile->x, top, codes, &d, &m, undone);
    return half_bits(d) | half_bits(m) << 16;
}

vi quantize_q4_1(const struct tile *tile, uint8_t *out) {
    vi undone = isplat(0), codes[SIZE], words[5];
    words[0] = code_block(tile, 15, codes, &undone);
    pack_nibbles(codes, words + 1);
    store_words(out, 20, 0, words, 5);
    return undone;
}

vi quantize_q5_1(const struct tile *tile, uint8_t *out) {
    vi undone = isplat(0), codes[SIZE], words[6];
    words[0] = code_block(tile, 31, codes, &undone);
    words[1] = pack_bits(codes, 4);
    pack_nibbles(codes, words + 2);
    store_words(out, 24, 0, words, 6);
    return undone;
}
