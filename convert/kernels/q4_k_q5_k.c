/* Q4_K and Q5_K: 8 sub-blocks of 32 weights, weight = d * scale * code - dmin * minimum.
 *
 * Source: quantize_row_q4_K_ref, quantize_row_q4_K_impl, and the same of q5_K. A block is d and
 * dmin (halves), 12 bytes that hold 8 scales and 8 minima of 6 bits each, and 256 codes of 4 or 5
 * bits.
 */
#include "affine.h"

#define SUB_BLOCKS 8
#define SIZE 32
#define LARGEST_SCALE 63
#define HEADER 16      /* bytes of d, dmin, scales and minima */
#define Q4_K_BYTES 144
#define Q5_K_BYTES 176

static const struct search q4_k = {SIZE, 15, -1.f, 0.1f, 20, 0};
static const struct search q4_k_weighted = {SIZE, 15, -0.9f, 0.05f, 36, 0};
static const struct search q5_k = {SIZE, 31, -0.5f, 0.1f, 15, 0};
static const struct search q5_k_weighted = {SIZE, 31, -0.9f, 0.05f, 36, 0};

/* The bytes that ggml's get_scale_min_k4 reads, as three words: the low 6 bits of byte j are scale
 * j, those of byte 4 + j minimum j; the other four of each have their low 4 bits in the last word,
 * and their high 2 bits above those of the first four. */
INLINE void pack_scales(const vi *scales, const vi *minima, vi *words) {
    words[0] = words[1] = words[2] = isplat(0);
    for (int j = 0; j < 4; j++) {
        words[0] |= (scales[j] | (scales[j + 4] >> 4) << 6) << 8 * j;
        words[1] |= (minima[j] | (minima[j + 4] >> 4) << 6) << 8 * j;
        words[2] |= ((scales[j + 4] & 15) | (minima[j + 4] & 15) << 4) << 8 * j;
    }
}

/* Write the header of the blocks, and return their codes: codes[i] belongs to x[i]. */
INLINE vi fit_blocks(const struct tile *tile, const struct search plain,
                     const struct search weighted, vi *codes, uint8_t *out, int bytes) {
    struct fit fits[SUB_BLOCKS];
    vf scale[SUB_BLOCKS], minimum[SUB_BLOCKS], sum_w[SUB_BLOCKS], weights[SIZE];
    vi scale_code[SUB_BLOCKS], minimum_code[SUB_BLOCKS], header[HEADER / 4];
    vi undone = isplat(0);
    vf d, dmin;

    if (tile->has_importance) {
        vf sigma2 = 2 * sum_of_squares(tile->x, MAX_BLOCK) / MAX_BLOCK;
        for (int j = 0; j < SUB_BLOCKS; j++) {
            const vf *x = tile->x + SIZE * j;
            sum_w[j] = weigh(x, tile->importance + SIZE * j, sigma2, SIZE, weights);
            fits[j] = fit_sub_block(x, weights, weighted);
        }
    } else {
        for (int j = 0; j < SUB_BLOCKS; j++) {
            const vf *x = tile->x + SIZE * j;
            vf average = vsqrt(sum_of_squares(x, SIZE) / SIZE);
            for (int i = 0; i < SIZE; i++) weights[i] = average + vabs(x[i]);
            fits[j] = fit_sub_block(x, weights, plain);
        }
    }
    for (int j = 0; j < SUB_BLOCKS; j++) {
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
        /* ggml keeps a code in a byte, which wraps around, before it limits it */
        for (int j = 0; j < SUB_BLOCKS; j++) {
            scale_code[j] = imin(scale_code[j] & 0xff, isplat(LARGEST_SCALE));
            minimum_code[j] = imin(minimum_code[j] & 0xff, isplat(LARGEST_SCALE));
        }
    }
    vi half_d = half_bits(d), half_dmin = half_bits(dmin);
    header[0] = half_d | half_dmin << 16;
    pack_scales(scale_code, minimum_code, header + 1);
    store_words(out, bytes, 0, header, HEADER / 4);

    d = half_value(half_d);
    dmin = half_value(half_dmin);
    for (int j = 0; j < SUB_BLOCKS; j++)
        final_codes(tile->x + SIZE * j, &fits[j], d * to_float(scale_code[j]),
                    dmin * to_float(minimum_code[j]), SIZE, plain.top, codes + SIZE * j, &undone);
    return undone;
}

/* The low 4 bits of the codes of two neighbouring sub-blocks share a byte. */
INLINE void store_nibbles(const vi *codes, uint8_t *out, int bytes, int offset) {
    vi words[MAX_BLOCK / 8];
    for (int pair = 0; pair < SUB_BLOCKS / 2; pair++)
        for (int i = 0; i < SIZE; i += 4) {
            const vi *low = codes + 2 * SIZE * pair + i, *high = low + SIZE;
            vi word = isplat(0);
            for (int k = 0; k < 4; k++) word |= ((low[k] & 15) | (high[k] & 15) << 4) << 8 * k;
            words[(SIZE * pair + i) / 4] = word;
        }
    store_words(out, bytes, offset, words, MAX_BLOCK / 8);
}

vi quantize_q4_k(const struct tile *tile, uint8_t *out) {
    vi codes[MAX_BLOCK];
    vi undone = fit_blocks(tile, q4_k, q4_k_weighted, codes, out, Q4_K_BYTES);
    store_nibbles(codes, out, Q4_K_BYTES, HEADER);
    return undone;
}

/* The fifth bits come first: bit j of byte i is that of weight i of sub-block j. */
vi quantize_q5_k(const struct tile *tile, uint8_t *out) {
    vi codes[MAX_BLOCK], words[SIZE / 4];
    vi undone = fit_blocks(tile, q5_k, q5_k_weighted, codes, out, Q5_K_BYTES);
    for (int i = 0; i < SIZE; i += 4) {
        vi word = isplat(0);
        for (int k = 0; k < 4; k++)
            for (int j = 0; j < SUB_BLOCKS; j++)
                word |= codes[SIZE * j + i + k] >> 4 << (8 * k + j);
        words[i / 4] = word;
    }
    store_words(out, Q5_K_BYTES, HEADER, words, SIZE / 4);
    store_nibbles(codes, out, Q5_K_BYTES, HEADER + SIZE);
    return undone;
}
