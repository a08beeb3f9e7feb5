/* Q4_K: 8 sub-blocks of 32 weights, weight = d * scale * code - dmin * minimum.
 *
 * Source: quantize_row_q4_K_ref and quantize_row_q4_K_impl. A block is d and dmin (halves), 12 bytes
 * that hold 8 scales and 8 minima of 6 bits each, and 256 codes of 4 bits.
 */
#include "affine.h"

#define SUB_BLOCKS 8
#define SIZE 32
#define BYTES 144

static const struct search plain = {SIZE, 15, -1.f, 0.1f, 20, 0};
static const struct search weighted = {SIZE, 15, -0.9f, 0.05f, 36, 0};

/* The bytes that ggml's get_scale_min_k4 reads, as three words: the low 6 bits of byte j are scale j,
 * those of byte 4 + j minimum j; the other four of each have their low 4 bits in the last word, and
 * their high 2 bits above those of the first four. */
INLINE void pack_scales(const vi *scales, const vi *minima, vi *words) {
    words[0] = words[1] = words[2] = isplat(0);
    for (int j = 0; j < 4; j++) {
        words[0] |= (scales[j] | (scales[j + 4] >> 4) << 6) << 8 * j;
        words[1] |= (minima[j] | (minima[j + 4] >> 4) << 6) << 8 * j;
        words[2] |= ((scales[j + 4] & 15) | (minima[j + 4] & 15) << 4) << 8 * j;
    }
}

vi quantize_q4_k(const struct tile *tile, uint8_t *out) {
    struct fit fits[SUB_BLOCKS];
    vf scale[SUB_BLOCKS], minimum[SUB_BLOCKS], sum_w[SUB_BLOCKS];
    vi scale_code[SUB_BLOCKS], minimum_code[SUB_BLOCKS];
    vi undone = isplat(0);
    vf weights[SIZE];
    vf d, dmin;

    vf sigma2 = splat(0);
    if (tile->has_importance) {
        vf sum_x2 = splat(0);
        for (int i = 0; i < MAX_BLOCK; i++) sum_x2 += tile->x[i] * tile->x[i];
        sigma2 = 2 * sum_x2 / MAX_BLOCK;
    }
    for (int j = 0; j < SUB_BLOCKS; j++) {
        const vf *x = tile->x + SIZE * j;
        if (tile->has_importance) {
            const vf *importance = tile->importance + SIZE * j;
            sum_w[j] = splat(0);
            for (int i = 0; i < SIZE; i++) {
                weights[i] = importance[i] * vsqrt(sigma2 + x[i] * x[i]);
                sum_w[j] += weights[i];
            }
            fits[j] = fit_sub_block(x, weights, weighted);
        } else {
            vf sum_x2 = splat(0);
            for (int i = 0; i < SIZE; i++) sum_x2 += x[i] * x[i];
            vf mean = vsqrt(sum_x2 / SIZE);
            for (int i = 0; i < SIZE; i++) weights[i] = mean + vabs(x[i]);
            fits[j] = fit_sub_block(x, weights, plain);
        }
        scale[j] = fits[j].scale;
        minimum[j] = fits[j].minimum;
        undone |= fits[j].undone;
    }

    if (tile->has_importance) {
        d = fit_scales(scale, sum_w, scale_code, SUB_BLOCKS, 63, &undone);
        dmin = fit_scales(minimum, sum_w, minimum_code, SUB_BLOCKS, 63, &undone);
    } else {
        d = scale_by_largest(scale, scale_code, SUB_BLOCKS, 63);
        dmin = scale_by_largest(minimum, minimum_code, SUB_BLOCKS, 63);
    }
    vi half_d = half_bits(d), half_dmin = half_bits(dmin);
    d = half_value(half_d);
    dmin = half_value(half_dmin);

    vi header[4];
    header[0] = half_d | half_dmin << 16;
    pack_scales(scale_code, minimum_code, header + 1);
    store_words(out, BYTES, 0, header, 4);

    for (int j = 0; j < SUB_BLOCKS; j += 2) {
        vi codes[2 * SIZE], words[SIZE / 4];
        for (int k = 0; k < 2; k++)
            final_codes(tile->x + SIZE * (j + k), &fits[j + k], d * to_float(scale_code[j + k]),
                        dmin * to_float(minimum_code[j + k]), SIZE, 15, codes + SIZE * k, &undone);
        for (int i = 0; i < SIZE / 4; i++) {
            words[i] = isplat(0);
            for (int k = 0; k < 4; k++)
                words[i] |= (codes[4 * i + k] | codes[SIZE + 4 * i + k] << 4) << 8 * k;
        }
        store_words(out, BYTES, 16 + SIZE * (j / 2), words, SIZE / 4);
    }
    return undone;
}
