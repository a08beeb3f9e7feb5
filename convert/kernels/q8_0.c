/* Q8_0: weight = d * code, codes from -127 to 127.
 *
 * Source: quantize_row_q8_0_ref. A block is the half d and 32 codes. An importance matrix changes
 * nothing.
 */
#include "tile.h"

/* The float below one half. Added to a magnitude, it carries to the next whole number from exactly
 * one half on: cut off, that is roundf, which rounds halves away from zero. */
#define BELOW_HALF 0x1.fffffep-2f

INLINE vi round_away(vf v) {
    return truncate_float(v + (vf)((vi)splat(BELOW_HALF) | ((vi)v & INT32_MIN)));
}

vi quantize_q8_0(const struct tile *tile, uint8_t *out) {
    vi words[8];
    vf largest = splat(0);
    for (int i = 0; i < 32; i++) largest = vmax(largest, vabs(tile->x[i]));
    vf d = largest / 127;
    vf id = vselect(d == 0, splat(0), 1 / d);
    for (int i = 0; i < 8; i++) {
        words[i] = isplat(0);
        for (int k = 0; k < 4; k++)
            words[i] |= (round_away(tile->x[4 * i + k] * id) & 255) << 8 * k;
    }
    store_half(out, 34, 0, half_bits(d));
    store_words(out, 34, 2, words, 8);
    return ~is_finite(id);
}
