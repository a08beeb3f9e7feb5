/* Q4_0 and Q5_0: weight = d * (code - top), codes of 4 and 5 bits.
 *
 * Source: quantize_row_q4_0_ref, quantize_row_q4_0_impl, and the same of Q5_0. A block is the half
 * d, for Q5_0 the 32 high bits of the codes, and their low 4 bits.
 */
#include "symmetric.h"

#define SIZE 32

/* Without a matrix: the extreme weight gets the code 0. */
INLINE vf code_by_extreme(const vf *x, float top, vi *codes, vi *undone) {
    vf largest;
    vf d = extreme_of(x, SIZE, &largest) / -top;
    vi is_zero = d == 0;
    vf id = vselect(is_zero, splat(0), 1 / d);
    *undone |= ~is_finite(id);
    for (int i = 0; i < SIZE; i++)
        codes[i] = imin(truncate_float(x[i] * id + (top + 0.5f)) & 255, isplat(2 * (int)top - 1));
    return d;
}

/* With a matrix: the best of several scales. */
INLINE vf code_by_search(const struct tile *tile, float top, vi *codes, vi *undone) {
    vf weights[SIZE];
    weigh(tile->x, tile->importance, tile->row_mean_square, SIZE, weights);
    struct fit fit = fit_sub_block(tile->x, weights, SIZE, top);
    *undone |= fit.undone;
    for (int i = 0; i < SIZE; i++) codes[i] = searched_code(tile->x[i], &fit, top);
    return fit.scale;
}

INLINE vf code_block(const struct tile *tile, float top, vi *codes, vi *undone) {
    return tile->has_importance ? code_by_search(tile, top, codes, undone)
                                : code_by_extreme(tile->x, top, codes, undone);
}

vi quantize_q4_0(const struct tile *tile, uint8_t *out) {
    vi undone = isplat(0), codes[SIZE], words[4];
    vf d = code_block(tile, 8, codes, &undone);
    pack_nibbles(codes, words);
    store_half(out, 18, 0, half_bits(d));
    store_words(out, 18, 2, words, 4);
    return undone;
}

vi quantize_q5_0(const struct tile *tile, uint8_t *out) {
    vi undone = isplat(0), codes[SIZE], words[5];
    vf d = code_block(tile, 16, codes, &undone);
    words[0] = pack_bits(codes, 4);
    pack_nibbles(codes, words + 1);
    store_half(out, 22, 0, half_bits(d));
    store_words(out, 22, 2, words, 5);
    return undone;
}
