/* MXFP4: weight = 2^(e - 127) * one of 0, 0.5, 1, 1.5, 2, 3, 4, 6 and a sign.
 *
 * Source: quantize_row_mxfp4_ref and best_index_mxfp4. A block is the byte e and 32 codes of 4
 * bits. An importance matrix changes nothing.
 */
#include <math.h>

#include "tile.h"

/* Twice the middles between neighbouring values. ggml takes the value with the least distance, of
 * two as near the first of its table, which is the smaller one. As the distances near a middle are
 * exact, the code is the number of middles below the weight's magnitude. */
static const float MIDDLES[7] = {0.5f, 1.5f, 2.5f, 3.5f, 5, 7, 10};

#define MAX_EXPONENT 252  /* from 253 on, distances overflow */

/* The exponent of the block. log2f gives the next whole number already a little below a power of
 * two, so that it must be the same log2f. */
INLINE vi exponent_of(vf largest) {
    vi e;
    for (int lane = 0; lane < LANES; lane++)
        e[lane] = largest[lane] > 0 ? (uint8_t)(int)(floorf(log2f(largest[lane])) - 2 + 127) : 0;
    return e;
}

vi quantize_mxfp4(const struct tile *tile, uint8_t *out) {
    vf largest = splat(0);
    for (int i = 0; i < 32; i++) largest = vmax(vabs(tile->x[i]), largest);
    vi undone = ~is_finite(largest);
    vi e = exponent_of(vselect(undone, splat(0), largest));
    undone |= e > MAX_EXPONENT;
    /* 2^(e - 128): half of the scale, because the middles are doubled */
    vf d = (vf)iselect(e < 2, 0x00200000 + e * 0x00200000, (e - 1) << 23);
    vf middles[7];
    for (int i = 0; i < 7; i++) middles[i] = MIDDLES[i] * d;

    vi codes[32], words[4];
    for (int i = 0; i < 32; i++) {
        vf magnitude = vabs(tile->x[i]);
        vi code = isplat(0);
        for (int k = 0; k < 7; k++) code -= magnitude > middles[k];
        codes[i] = code | ((tile->x[i] < 0) & (code > 0) & 8);
    }
    pack_nibbles(codes, words);
    for (int lane = 0; lane < LANES; lane++) out[17 * lane] = (uint8_t)e[lane];
    store_words(out, 17, 1, words, 4);
    return undone;
}
