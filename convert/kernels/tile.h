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
};

/* One tensor type. The table of all is in kernels.c. */
struct kernel {
    int type;     /* its number in enum ggml_type */
    int weights;  /* weights of a block: 32 or 256 */
    int bytes;    /* bytes of a block */
    /* Write LANES blocks to out, one after another. Returns a mask of the lanes whose blocks must be
       left to ggml; what was written for those does not matter. */
    vi (*quantize)(const struct tile *tile, uint8_t *out);
};

/* Store words of 4 bytes, which every lane has `count` of, at `offset` of its block. Little-endian. */
INLINE void store_words(uint8_t *out, int bytes, int offset, const vi *words, int count) {
    for (int lane = 0; lane < LANES; lane++)
        for (int i = 0; i < count; i++) {
            int32_t word = words[i][lane];
            memcpy(out + lane * bytes + offset + 4 * i, &word, 4);
        }
}

/* Store a half (the low 16 bits of each lane) at `offset` of the lane's block. */
INLINE void store_half(uint8_t *out, int bytes, int offset, vi half) {
    for (int lane = 0; lane < LANES; lane++) {
        uint16_t bits = (uint16_t)half[lane];
        memcpy(out + lane * bytes + offset, &bits, 2);
    }
}

#endif
