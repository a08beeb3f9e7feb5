/* Q2_K: 16 sub-blocks of 16 weights, weight = d * scale * code - dmin * minimum.
 *
 * Source: quantize_row_q2_K_ref and quantize_row_q2_K_impl. A block is 16 bytes, each of a scale
 * (the low 4 bits) and a minimum, 256 codes of 2 bits, and d and dmin (halves).
 */
#include "affine.h"

#define SUB_BLOCKS 16
#define SIZE 16
#define LARGEST_SCALE 15
#define BYTES 84

static const struct search plain = {SIZE, 3, -0.5f, 0.1f, 15, 1};
static const struct search weighted = {SIZE, 3, -0.9f, 0.05f, 36, 0};

vi quantize_q2_k(const struct tile *tile, uint8_t *out) {
    struct fit fits[SUB_BLOCKS];
    vf scale[SUB_BLOCKS], minimum[SUB_BLOCKS], sum_w[SUB_BLOCKS], weights[SIZE];
    vi scale_code[SUB_BLOCKS], minimum_code[SUB_BLOCKS];
    vi codes[MAX_BLOCK], words[SUB_BLOCKS / 4];
    vi undone = isplat(0);
    vf d, dmin;

    vf sigma2 = sum_of_squares(tile->x, MAX_BLOCK) / MAX_BLOCK;
    for (int j = 0; j < SUB_BLOCKS; j++) {
        const vf *x = tile->x + SIZE * j;
        if (tile->has_importance) {
            sum_w[j] = weigh(x, tile->importance + SIZE * j, sigma2, SIZE, weights);
            fits[j] = fit_sub_block(x, weights, weighted);
        } else {
            for (int i = 0; i < SIZE; i++) weights[i] = vabs(x[i]);
            fits[j] = fit_sub_block(x, weights, plain);
        }
        scale[j] = fits[j].scale;
        minimum[j] = fits[j].minimum;
        undone |= fits[j].undone;
    }
    if (tile->has_importance) {
        d = fit_scales(scale, sum_w, scale_code, SUB_BLOCKS, LARGEST_SCALE, &undone);
        dmin = fit_scales(minimum, sum_w, minimum_code, SUB_BLOCKS, LARGEST_SCALE, &undone);
    } else {
        d = scale_by_largest(scale, scale_code, SUB_BLOCKS, LARGEST_SCALE);
        dmin = scale_by_largest(minimum, minimum_code, SUB_BLOCKS, LARGEST_SCALE);
    }
    vi half_d = half_bits(d), half_dmin = half_bits(dmin);
    d = half_value(half_d);
    dmin = half_value(half_dmin);

    for (int j = 0; j < SUB_BLOCKS / 4; j++) words[j] = isplat(0);
    for (int j = 0; j < SUB_BLOCKS; j++) {
        vi byte = (scale_code[j] | minimum_code[j] << 4) & 0xff;
        words[j / 4] |= byte << 8 * (j % 4);
        final_codes(tile->x + SIZE * j, &fits[j], d * to_float(byte & 15),
                    dmin * to_float(byte >> 4), SIZE, plain.top, codes + SIZE * j, &undone);
    }
    store_words(out, BYTES, 0, words, SUB_BLOCKS / 4);
    store_two_bits(codes, out, BYTES, SUB_BLOCKS);
    words[0] = half_d | half_dmin << 16;
    store_words(out, BYTES, BYTES - 4, words, 1);
    return undone;
}
