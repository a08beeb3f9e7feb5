/* IQ2_XXS, IQ2_XS and IQ2_S: groups of 8 weights are points of a grid with 3 levels.
 *
 * Source: quantize_row_iq2_xxs_impl, quantize_row_iq2_xs_impl and quantize_row_iq2_s_impl. After
 * the half d, a block of
 *   - IQ2_XXS has for each of 8 sub-blocks of 32 weights two words: 4 indices of 8 bits; 4 times 7
 *     signs and a scale of 4 bits.
 *   - IQ2_XS has for each group 16 bits, an index of 9 and 7 signs, and then 16 scales of 4 bits.
 *   - IQ2_S has 32 low bytes of indices, 32 bytes of signs, 2 high bits for each index, 16 scales.
 */
#include "grid_fit.h"

static const struct grid_type XXS = {{8, 3}, 4, 6, 0.1f, 1e-15f, 1, ALL};
static const struct grid_type XS = {{8, 3}, 2, 9, 0.1f, 1e-15f, 1, NO_POINTS};
static const struct grid_type S = {{8, 3}, 2, 9, 0.1f, 1e-8f, 0, NO_POINTS};

/* make_qp_quants(32, 4, ...): the scale for IQ2_XXS to begin with.
 *
 * The magnitudes are quantized to 0 ... 4. ggml keeps the codes in bytes, where -3 of a weight
 * whose sign was flipped becomes 253; kept holds what a byte would.
 */
#define TOP 4
INLINE vi nearest_to_top(vf v) { return imin(nearest_int(v), isplat(TOP)); }

INLINE vf best_iscale(const vf *x, const vf *weights, vf max) {
    vf best_iscale = TOP / max, scale = 1 / best_iscale, best = splat(0);
    for (int i = 0; i < 32; i++) {
        vf difference = x[i] - scale * to_float(nearest_int(best_iscale * x[i]) & 255);
        best += weights[i] * difference * difference;
    }
    for (int trial = -4; trial <= 4; trial++) {
        if (trial == 0) continue;
        vf iscale = (0.1f * trial + TOP) / max, error = splat(0);
        scale = 1 / iscale;
        for (int i = 0; i < 32; i++) {
            vf difference = x[i] - scale * to_float(nearest_to_top(iscale * x[i]));
            error += weights[i] * difference * difference;
        }
        vi wins = error < best;
        best = vselect(wins, error, best);
        best_iscale = vselect(wins, iscale, best_iscale);
    }
    return best_iscale;
}

INLINE vf first_scale(const vf *x, const vf *weights, vf max) {
    vf iscale = best_iscale(x, weights, max);
    vf sum_lx = splat(0), sum_l2 = splat(0), kept[32];
    for (int i = 0; i < 32; i++) {
        vi code = nearest_to_top(iscale * x[i]);
        vf l = to_float(code);
        sum_lx += weights[i] * x[i] * l;
        sum_l2 += weights[i] * l * l;
        kept[i] = to_float(code & 255);
    }
    /* One code at a time is changed where that lowers the error. A lane in which a round changed
       nothing would change nothing in the next, so that all lanes may do as many rounds as one. */
    for (int round = 0; round < 5; round++) {
        vi has_changed = isplat(0);
        for (int i = 0; i < 32; i++) {
            vf w = weights[i];
            vf rest_lx = sum_lx - w * x[i] * kept[i];
            vf rest_l2 = sum_l2 - w * kept[i] * kept[i];
            vi is_usable = (rest_lx > 0) & (rest_l2 > 0);
            vi code = nearest_to_top(x[i] * rest_l2 / rest_lx);
            vf l = to_float(code);
            rest_lx += w * x[i] * l;
            rest_l2 += w * l * l;
            vi wins = is_usable & (l != kept[i])
                & (rest_lx * rest_lx * sum_l2 > sum_lx * sum_lx * rest_l2);
            kept[i] = vselect(wins, to_float(code & 255), kept[i]);
            sum_lx = vselect(wins, rest_lx, sum_lx);
            sum_l2 = vselect(wins, rest_l2, sum_l2);
            has_changed |= wins;
        }
        if (!any(has_changed)) break;
    }
    return vselect(sum_l2 > 0, sum_lx / sum_l2, splat(0));
}
#undef TOP

vi quantize_iq2_xxs(const struct tile *tile, uint8_t *out) {
    const struct grid *grid = grid_of(IQ2_XXS);
    vf sum_x2 = sum_of_squares(tile->x, MAX_BLOCK), scales[8];
    vf sigma2 = sum_x2 / MAX_BLOCK;
    vi undone = ~is_finite(sum_x2), codes[8], words[16];
    for (int j = 0; j < 8; j++) {
        const vf *x = tile->x + 32 * j;
        vf weights[32];
        struct magnitudes magnitudes;
        weigh(x, tile->importance + 32 * j, sigma2, 32, weights);
        split_signs(x, weights, &magnitudes, XXS);
        vi is_zero = magnitudes.max < XXS.least;
        vf scale = first_scale(magnitudes.x, weights,
                               vselect(is_zero, splat(1), magnitudes.max));
        vf max = scale * 3;
        is_zero |= max <= 0;
        struct grid_fit fit = fit_to_grid(grid, &magnitudes, weights, is_zero, max, scale, 0, XXS);
        words[2 * j] = words[2 * j + 1] = isplat(0);
        for (int k = 0; k < 4; k++) {
            words[2 * j] |= fit.index[k] << 8 * k;
            words[2 * j + 1] |= (magnitudes.signs[k] & ~is_zero) << 7 * k;
        }
        scales[j] = fit.scale;
        undone |= fit.undone;
    }
    vf d = code_scales(scales, 8, codes, &undone);
    for (int j = 0; j < 8; j++) words[2 * j + 1] |= codes[j] << 28;
    for (int i = 0; i < 16; i++) words[i] &= ~(d == 0);
    store_half(out, 66, 0, half_bits(d));
    store_words(out, 66, 2, words, 16);
    return undone;
}

/* Two codes of 4 bits in each byte. */
INLINE void pack_16_scales(const vi *codes, vi *words) {
    for (int i = 0; i < 2; i++) {
        words[i] = isplat(0);
        for (int k = 0; k < 8; k++) words[i] |= codes[8 * i + k] << 4 * k;
    }
}

vi quantize_iq2_xs(const struct tile *tile, uint8_t *out) {
    const struct grid *grid = grid_of(IQ2_XS);
    vf sum_x2 = sum_of_squares(tile->x, MAX_BLOCK), scales[16];
    vf sigma2 = sum_x2 / MAX_BLOCK;
    vi undone = ~is_finite(sum_x2), codes[16], words[18];
    for (int j = 0; j < 16; j++) {
        const vf *x = tile->x + 16 * j;
        vf weights[16];
        struct magnitudes magnitudes;
        weigh(x, tile->importance + 16 * j, sigma2, 16, weights);
        split_signs(x, weights, &magnitudes, XS);
        vi is_zero = magnitudes.max < XS.least;
        struct grid_fit fit = fit_to_grid(grid, &magnitudes, weights, is_zero, magnitudes.max,
                                          magnitudes.max / 5, 1, XS);
        words[j] = fit.index[0] | fit.index[1] << 16
            | ((magnitudes.signs[0] << 9 | magnitudes.signs[1] << 25) & ~is_zero);
        scales[j] = fit.scale;
        undone |= fit.undone;
    }
    vf d = code_scales(scales, 16, codes, &undone);
    pack_16_scales(codes, words + 16);
    for (int i = 0; i < 16; i++) words[i] &= ~(d == 0);
    store_half(out, 74, 0, half_bits(d));
    store_words(out, 74, 2, words, 18);
    return undone;
}

vi quantize_iq2_s(const struct tile *tile, uint8_t *out) {
    const struct grid *grid = grid_of(IQ2_S);
    vf sum_x2 = sum_of_squares(tile->x, MAX_BLOCK), scales[16];
    vf sigma2 = 2 * sum_x2 / MAX_BLOCK;
    vi undone = ~is_finite(sum_x2), codes[16], words[20];
    for (int i = 0; i < 18; i++) words[i] = isplat(0);
    for (int j = 0; j < 16; j++) {
        const vf *x = tile->x + 16 * j;
        vf weights[16];
        struct magnitudes magnitudes;
        if (tile->has_importance)
            weigh(x, tile->importance + 16 * j, sigma2, 16, weights);
        else
            for (int i = 0; i < 16; i++) weights[i] = 0.25f * sigma2 + x[i] * x[i];
        split_signs(x, weights, &magnitudes, S);
        vi is_zero = magnitudes.max < S.least;
        struct grid_fit fit = fit_to_grid(grid, &magnitudes, weights, is_zero, magnitudes.max,
                                          magnitudes.max / 5, 1, S);
        for (int k = 0; k < 2; k++) {
            const int group = 2 * j + k;
            words[group / 4] |= (fit.index[k] & 255) << 8 * (group % 4);
            words[8 + group / 4] |= (magnitudes.signs[k] & ~is_zero) << 8 * (group % 4);
            words[16 + group / 16] |= (fit.index[k] >> 8) << 2 * (group % 16);
        }
        scales[j] = fit.scale;
        undone |= fit.undone;
    }
    vf d = code_scales(scales, 16, codes, &undone);
    pack_16_scales(codes, words + 18);
    store_half(out, 82, 0, half_bits(d * 0.9875f));
    store_words(out, 82, 2, words, 20);
    return undone;
}
