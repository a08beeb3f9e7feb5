/* Q3_K: 16 sub-blocks of 16 weights, weight = d * (scale - 32) * (code - 4).
 *
 * Source: quantize_row_q3_K_ref and quantize_row_q3_K_impl. A block is the high bits of 256 codes,
 * their low 2 bits, 12 bytes that hold 16 scales of 6 bits, and d (a half).
 */
#include "symmetric.h"

#define SUB_BLOCKS 16
#define SIZE 16
#define TOP 4
#define TOP_SCALE 32
#define BYTES 110

/* make_q3_quants: without a matrix, the codes for the scale that gives the extreme weight the code
 * -top are changed one at a time, where that lowers the error. Returns the scale; codes are from 0.
 *
 * A lane in which a round changed nothing would change nothing in the next, so that all lanes may do
 * as many rounds as one of them needs. */
INLINE vf descend(const vf *x, vi *codes, struct fit *fit) {
    vf max = extreme_of(x, SIZE, &fit->largest);
    fit->is_zero = fit->largest < GROUP_MAX_EPS;
    fit->iscale = -(float)TOP / vselect(fit->is_zero, splat(1), max);
    vf code[SIZE], w[SIZE], wx[SIZE];
    vf sum_lx = splat(0), sum_l2 = splat(0);
    for (int i = 0; i < SIZE; i++) {
        code[i] = code_of(x[i], fit->iscale, TOP);
        w[i] = x[i] * x[i];
        wx[i] = w[i] * x[i];
        sum_lx += wx[i] * code[i];
        sum_l2 += w[i] * code[i] * code[i];
    }
    fit->undone = ~(is_finite(fit->largest) & is_finite(sum_lx) & is_finite(sum_l2));
    for (int round = 0; round < 5; round++) {
        vi has_changed = isplat(0);
        for (int i = 0; i < SIZE; i++) {
            vf rest_lx = sum_lx - wx[i] * code[i];
            vf rest_l2 = sum_l2 - w[i] * code[i] * code[i];
            vi wanted = nearest_int(x[i] * rest_l2 / rest_lx);
            vf changed = to_float(imax(imin(wanted, isplat(TOP - 1)), isplat(-TOP)));
            vi is_usable = (rest_lx > 0) & (changed != code[i]);
            rest_lx += wx[i] * changed;
            rest_l2 += w[i] * changed * changed;
            vi wins = is_usable & (rest_l2 > 0)
                & (rest_lx * rest_lx * sum_l2 > sum_lx * sum_lx * rest_l2) & ~fit->is_zero;
            code[i] = vselect(wins, changed, code[i]);
            sum_lx = vselect(wins, rest_lx, sum_lx);
            sum_l2 = vselect(wins, rest_l2, sum_l2);
            has_changed |= wins;
        }
        if (!any(has_changed)) break;
    }
    for (int i = 0; i < SIZE; i++) codes[i] = to_int(code[i] + TOP) & ~fit->is_zero;
    return vselect(~fit->is_zero & (sum_l2 > 0), sum_lx / sum_l2, splat(0));
}

/* Return d before it goes through half precision; the codes of the scales are from 0 to 63. */
INLINE vf scale_by_extreme(const vf *scale, vi *scale_code, vi *undone) {
    vf largest;
    vf max = extreme_of(scale, SUB_BLOCKS, &largest);
    vi is_zero = max == 0;
    vf iscale = -(float)TOP_SCALE / vselect(is_zero, splat(1), max);
    for (int j = 0; j < SUB_BLOCKS; j++) {
        vf wanted = iscale * scale[j];
        *undone |= ~is_roundable(wanted);
        scale_code[j] = to_int(nearest_limited(wanted, -TOP_SCALE, TOP_SCALE - 1) + TOP_SCALE)
            & ~is_zero;
    }
    return vselect(is_zero, splat(0), 1 / iscale);
}

/* The low 4 bits of scale j and j + 8 share a byte; so do the high 2 bits of j, j + 4, j + 8, j + 12. */
INLINE void store_scales(const vi *scales, uint8_t *out, int offset) {
    vi words[3];
    words[0] = words[1] = words[2] = isplat(0);
    for (int j = 0; j < 8; j++)
        words[j / 4] |= ((scales[j] & 15) | (scales[j + 8] & 15) << 4) << 8 * (j % 4);
    for (int j = 0; j < 16; j++) words[2] |= scales[j] >> 4 << (8 * (j % 4) + 2 * (j / 4));
    store_words(out, BYTES, offset, words, 3);
}

/* Bit j of byte i is the high bit of weight 32 * j + i. */
INLINE void store_high_bits(const vi *codes, uint8_t *out) {
    vi words[8];
    for (int i = 0; i < 32; i += 4) {
        vi word = isplat(0);
        for (int k = 0; k < 4; k++)
            for (int j = 0; j < 8; j++) word |= codes[32 * j + i + k] >> 2 << (8 * k + j);
        words[i / 4] = word;
    }
    store_words(out, BYTES, 0, words, 8);
}

vi quantize_q3_k(const struct tile *tile, uint8_t *out) {
    struct fit fits[SUB_BLOCKS];
    vf scale[SUB_BLOCKS], sum_w[SUB_BLOCKS], weights[SIZE];
    vi kept[MAX_BLOCK], codes[MAX_BLOCK], scale_code[SUB_BLOCKS];
    vi undone = isplat(0);
    vf d;

    if (tile->has_importance) {
        vf sigma2 = 2 * sum_of_squares(tile->x, MAX_BLOCK) / MAX_BLOCK;
        for (int j = 0; j < SUB_BLOCKS; j++) {
            const vf *x = tile->x + SIZE * j;
            sum_w[j] = weigh(x, tile->importance + SIZE * j, sigma2, SIZE, weights);
            fits[j] = fit_sub_block(x, weights, SIZE, TOP);
            scale[j] = fits[j].scale;
        }
        struct fit fit = fit_sub_block(scale, sum_w, SUB_BLOCKS, TOP_SCALE);
        for (int j = 0; j < SUB_BLOCKS; j++)
            scale_code[j] = searched_code(scale[j], &fit, TOP_SCALE);
        d = fit.scale;
        undone |= fit.undone;
    } else {
        for (int j = 0; j < SUB_BLOCKS; j++)
            scale[j] = descend(tile->x + SIZE * j, kept + SIZE * j, &fits[j]);
        d = scale_by_extreme(scale, scale_code, &undone);
    }
    vi half_d = half_bits(d);
    d = half_value(half_d);
    for (int j = 0; j < SUB_BLOCKS; j++) {
        undone |= fits[j].undone;
        final_codes(tile->x + SIZE * j, &fits[j], tile->has_importance ? 0 : kept + SIZE * j,
                    d * to_float(scale_code[j] - TOP_SCALE), SIZE, TOP, codes + SIZE * j, &undone);
    }
    store_high_bits(codes, out);
    store_two_bits(codes, out, BYTES, 32);
    store_scales(scale_code, out, 96);
    store_half(out, BYTES, 108, half_d);
    return undone;
}
