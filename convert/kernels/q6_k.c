/* Q6_K: 16 sub-blocks of 16 weights, weight = d * scale * (code - 32).
 *
 * Source: quantize_row_q6_K_ref and quantize_row_q6_K_impl. A block is the low 4 bits of 256
 * codes, their high 2 bits, 16 scales of 8 bits, and d (a half). An importance matrix is the
 * weight itself.
 */
#include "symmetric.h"

#define SUB_BLOCKS 16
#define SIZE 16
#define TOP 32
#define BYTES 210

/* Of each half of the block, the low bits of weight i and i + 64 share a byte; so do the high bits
 * of i, i + 32, i + 64 and i + 96. */
INLINE void store_codes(const vi *codes, uint8_t *out) {
    vi low[32], high[16];
    for (int half = 0; half < 2; half++)
        for (int i = 0; i < 32; i += 4) {
            vi first = isplat(0), second = isplat(0), top = isplat(0);
            for (int k = 0; k < 4; k++) {
                const vi *code = codes + 128 * half + i + k;
                first |= ((code[0] & 15) | (code[64] & 15) << 4) << 8 * k;
                second |= ((code[32] & 15) | (code[96] & 15) << 4) << 8 * k;
                for (int part = 0; part < 4; part++)
                    top |= code[32 * part] >> 4 << (8 * k + 2 * part);
            }
            low[16 * half + i / 4] = first;
            low[16 * half + 8 + i / 4] = second;
            high[8 * half + i / 4] = top;
        }
    store_words(out, BYTES, 0, low, 32);
    store_words(out, BYTES, 128, high, 16);
}

vi quantize_q6_k(const struct tile *tile, uint8_t *out) {
    struct fit fits[SUB_BLOCKS];
    vf scale[SUB_BLOCKS], squares[SIZE];
    vi codes[MAX_BLOCK], words[SUB_BLOCKS / 4];
    vi undone = isplat(0);

    for (int j = 0; j < SUB_BLOCKS; j++) {
        const vf *x = tile->x + SIZE * j;
        const vf *weights = tile->importance + SIZE * j;
        if (!tile->has_importance) {
            for (int i = 0; i < SIZE; i++) squares[i] = x[i] * x[i];
            weights = squares;
        }
        fits[j] = fit_sub_block(x, weights, SIZE, TOP);
        scale[j] = fits[j].scale;
        undone |= fits[j].undone;
    }
    vf largest;
    vf extreme = extreme_of(scale, SUB_BLOCKS, &largest);
    vi is_zero = largest < GROUP_MAX_EPS;  /* all bytes of the block are 0 then */
    vf iscale = -128.f / vselect(is_zero, splat(1), extreme);
    vi half_d = half_bits(1 / iscale);
    vf d = half_value(half_d);

    for (int j = 0; j < SUB_BLOCKS / 4; j++) words[j] = isplat(0);
    for (int j = 0; j < SUB_BLOCKS; j++) {
        vi scale_code = imin(nearest_int(iscale * scale[j]), isplat(127));
        undone |= ~is_finite(scale[j]);
        words[j / 4] |= (scale_code & 0xff) << 8 * (j % 4);
        final_codes(tile->x + SIZE * j, &fits[j], 0, d * to_float(scale_code), SIZE, TOP,
                    codes + SIZE * j, &undone);
    }
    if (any(is_zero)) {
        for (int i = 0; i < MAX_BLOCK; i++) codes[i] &= ~is_zero;
        for (int j = 0; j < SUB_BLOCKS / 4; j++) words[j] &= ~is_zero;
        half_d &= ~is_zero;
    }
    store_codes(codes, out);
    store_words(out, BYTES, 192, words, SUB_BLOCKS / 4);
    store_half(out, BYTES, 208, half_d);
    return undone;
}
