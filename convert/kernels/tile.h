/* What a quantizer works on: a tile of LANES blocks side by side, as a structure of arrays. */
#ifndef TILE_H
#define TILE_H

#include "lanes.h"

#define MAX_BLOCK 256  /* weights of the largest block */

/* x[i] and importance[i] hold weight i of every lane's block. */
struct tile {
    vf x[MAX_BLOCK];
    vf importance[MAX_BLOCK];
    int has_importance;
    vf row_mean_square;  /* of all weights of the block's row; only for USES_ROWS */
};

/* What a quantizer makes of an importance matrix. */
enum matrix_use { IGNORES, USES, USES_ROWS };

/* One tensor type. The table of all is in kernels.c. */
struct kernel {
    int type;     /* its number in enum ggml_type */
    int weights;  /* weights of a block: 32 or 256 */
    int bytes;    /* bytes of a block */
    /* Write LANES blocks to out, one after another. Returns a mask of the lanes whose blocks must
     * be left to ggml; what was written for those does not matter. */
    vi (*quantize)(const struct tile *tile, uint8_t *out);
    enum matrix_use matrix;
};

INLINE vf sum_of_squares(const vf *x, int n) {
    vf sum = splat(0);
    for (int i = 0; i < n; i++) sum += x[i] * x[i];
    return sum;
}

/* The weights of the errors with an importance matrix. Returns their sum. */
INLINE vf weigh(const vf *x, const vf *importance, vf sigma2, int n, vf *weights) {
    vf sum = splat(0);
    for (int i = 0; i < n; i++) {
        weights[i] = importance[i] * vsqrt(sigma2 + x[i] * x[i]);
        sum += weights[i];
    }
    return sum;
}

/* A float without its fraction, converted as x86 does it: NaN and what is too large for an int give
 * the lowest int, of which ggml keeps a byte of 0. */
INLINE vi truncate_float(vf v) {
#if defined(__SSE2__)
    return to_int(v);
#else
    return iselect(vabs(v) < 0x1p31f, to_int(v), isplat(INT32_MIN));
#endif
}

/* The low 4 bits of 32 codes: byte i holds those of the codes i and 16 + i. */
INLINE void pack_nibbles(const vi *codes, vi *words) {
    for (int i = 0; i < 4; i++) {
        words[i] = isplat(0);
        for (int k = 0; k < 4; k++)
            words[i] |= ((codes[4 * i + k] & 15) | (codes[16 + 4 * i + k] & 15) << 4) << 8 * k;
    }
}

/* One bit of each of 32 codes. */
INLINE vi pack_bits(const vi *codes, int bit) {
    vi word = isplat(0);
    for (int i = 0; i < 32; i++) word |= (codes[i] >> bit & 1) << i;
    return word;
}

/* Store words of 4 bytes, which every lane has `count` of, at `offset` of its block. Little-
 * endian. */
INLINE void store_words(uint8_t *out, int bytes, int offset, const vi *words, int count) {
    const int in_fours = count / 4 * 4;
    for (int i = 0; i < in_fours; i += 4) {
        vf four[4] = {(vf)words[i], (vf)words[i + 1], (vf)words[i + 2], (vf)words[i + 3]};
        transpose_quads(four);
        for (int k = 0; k < 4; k++)
            split_quads(four[k], out + k * bytes + offset + 4 * i, 4 * bytes);
    }
    for (int i = in_fours; i < count; i++)
        for (int lane = 0; lane < LANES; lane++) {
            int32_t word = words[i][lane];
            memcpy(out + lane * bytes + offset + 4 * i, &word, 4);
        }
}

/* Store codes of 2 bits, as Q2_K and Q3_K pack them: the weights i, i + 32, i + 64 and i + 96 of
 * each half of the block share a byte. */
INLINE void store_two_bits(const vi *codes, uint8_t *out, int bytes, int offset) {
    vi words[MAX_BLOCK / 16];
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < 32; i += 4) {
            vi word = isplat(0);
            for (int k = 0; k < 4; k++)
                for (int part = 0; part < 4; part++)
                    word |= (codes[128 * half + 32 * part + i + k] & 3) << (8 * k + 2 * part);
            words[8 * half + i / 4] = word;
        }
    store_words(out, bytes, offset, words, MAX_BLOCK / 16);
}

/* Store a half (the low 16 bits of each lane) at `offset` of the lane's block. */
INLINE void store_half(uint8_t *out, int bytes, int offset, vi half) {
    for (int lane = 0; lane < LANES; lane++) {
        uint16_t bits = (uint16_t)half[lane];
        memcpy(out + lane * bytes + offset, &bits, 2);
    }
}

#endif
