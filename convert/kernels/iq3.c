/* IQ3_XXS and IQ3_S: groups of 4 weights are points of a grid with 8 levels.
 *
 * Source: quantize_row_iq3_xxs_impl and quantize_row_iq3_s_impl. After the half d, a block of
 *   - IQ3_XXS has 64 indices of 8 bits, and for each of 8 sub-blocks of 32 weights a word with 4
 *     times 7 signs and a scale of 4 bits.
 *   - IQ3_S has 64 low bytes of indices, the high bit of each, 256 signs, 8 scales of 4 bits.
 */
#include "grid_fit.h"

static const struct grid_type XXS = {{4, 8}, 8, 15, 0.2f, 1e-8f, 1, NO_POINTS};
/* stored as zero: only what is zero */
static const struct grid_type S = {{4, 8}, 8, 9, 0.2f, 0x1p-149f, 0, ALL_WHERE_ONE_IS_NO_POINT};

/* Fit a sub-block of 32 weights. Returns where it is stored as zero. */
INLINE vi fit_sub_block(const struct tile *tile, int j, vf sigma2, const struct grid *grid,
                        struct magnitudes *magnitudes, struct grid_fit *fit, int are_points,
                        const struct grid_type type) {
    const vf *x = tile->x + 32 * j;
    vf weights[32];
    if (tile->has_importance)
        weigh(x, tile->importance + 32 * j, sigma2, 32, weights);
    else
        for (int i = 0; i < 32; i++) weights[i] = x[i] * x[i];
    split_signs(x, weights, magnitudes, type);
    vi is_zero = magnitudes->max < type.least;
    *fit = fit_to_grid(grid, magnitudes, weights, is_zero, magnitudes->max, magnitudes->max / 15,
                       are_points, type);
    return is_zero;
}

vi quantize_iq3_xxs(const struct tile *tile, uint8_t *out) {
    const struct grid *grid = grid_of(IQ3_XXS);
    vf sum_x2 = sum_of_squares(tile->x, MAX_BLOCK), scales[8];
    vf sigma2 = 2 * sum_x2 / MAX_BLOCK;
    vi undone = ~is_finite(sum_x2), codes[8], words[24];
    for (int j = 0; j < 8; j++) {
        struct magnitudes magnitudes;
        struct grid_fit fit;
        vi is_zero = fit_sub_block(tile, j, sigma2, grid, &magnitudes, &fit, 1, XXS);
        words[2 * j] = words[2 * j + 1] = words[16 + j] = isplat(0);
        for (int k = 0; k < 8; k++) words[2 * j + k / 4] |= fit.index[k] << 8 * (k % 4);
        for (int k = 0; k < 4; k++) words[16 + j] |= (magnitudes.signs[k] & ~is_zero) << 7 * k;
        scales[j] = fit.scale;
        undone |= fit.undone;
    }
    vf d = code_scales(scales, 8, codes, &undone);
    for (int j = 0; j < 8; j++) words[16 + j] |= codes[j] << 28;
    for (int i = 0; i < 24; i++) words[i] &= ~(d == 0);
    store_half(out, 98, 0, half_bits(d * 1.0125f));
    store_words(out, 98, 2, words, 24);
    return undone;
}

/* Store the low bytes of the indices and the signs.
 *
 * ggml moves on in these only after a sub-block that is not zero: those that follow one that is
 * zero stand one sub-block too early (llama.cpp reads them at their right place, so that their
 * weights come out wrong). The bytes decide: so it is here.
 */
static void store_sub_blocks(uint8_t *out, const vi *indices, const vi *signs, const vi *is_zero) {
    for (int lane = 0; lane < LANES; lane++) {
        int32_t words[24] = {0};
        int to = 0;
        for (int j = 0; j < 8; j++) {
            if (is_zero[j][lane]) continue;
            words[2 * to] = indices[2 * j][lane];
            words[2 * to + 1] = indices[2 * j + 1][lane];
            words[16 + to] = signs[j][lane];
            to++;
        }
        memcpy(out + 110 * lane + 2, words, 64);
        memcpy(out + 110 * lane + 74, words + 16, 32);
    }
}

vi quantize_iq3_s(const struct tile *tile, uint8_t *out) {
    const struct grid *grid = grid_of(IQ3_S);
    vf sum_x2 = sum_of_squares(tile->x, MAX_BLOCK), scales[8];
    vf sigma2 = 2 * sum_x2 / MAX_BLOCK;
    vi undone = ~is_finite(sum_x2), codes[8];
    vi indices[16], high_bits[2] = {isplat(0), isplat(0)}, signs[8], is_zero[8];
    for (int j = 0; j < 8; j++) {
        struct magnitudes magnitudes;
        struct grid_fit fit;
        is_zero[j] = fit_sub_block(tile, j, sigma2, grid, &magnitudes, &fit, 0, S);
        indices[2 * j] = indices[2 * j + 1] = signs[j] = isplat(0);
        for (int k = 0; k < 8; k++) {
            indices[2 * j + k / 4] |= (fit.index[k] & 255) << 8 * (k % 4);
            high_bits[j / 4] |= (fit.index[k] >> 8) << (8 * (j % 4) + k);
        }
        for (int k = 0; k < 4; k++) signs[j] |= magnitudes.signs[k] << 8 * k;
        scales[j] = fit.scale;
        undone |= fit.undone;
    }
    vf d = code_scales(scales, 8, codes, &undone);
    vi packed = isplat(0);
    for (int j = 0; j < 8; j++) packed |= codes[j] << 4 * j;
    store_half(out, 110, 0, half_bits(d * 1.033f));
    store_sub_blocks(out, indices, signs, is_zero);
    store_words(out, 110, 66, high_bits, 2);
    store_words(out, 110, 106, &packed, 1);
    return undone;
}
