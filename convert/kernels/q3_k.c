/* Q3_K: 16 sub-blocks of 16 weights, weight = d * (scale - 32) * (code - 4).
 *
 * Source: quantize_row_q3_K_ref and quantize_row_q3_K_impl. A block is the high bits of 256 codes,
 * their low 2 bits, 12 bytes that hold 16 scales of 6 bits, and d (a half).
 */
#include "symmetric.h"

#define SUB_BLOCKS 16
#define SIZE 16
#define TOP 4
#define TOP_SCALE 32
#define BYTES 110

#define MAX_CUBED 1e10f   /* below this, 256 times the third power does not overflow */
#define MIN_EXACT 1e-35f  /* above this, half of a number is rounded as relatively little as it */
#define TOGETHER 4        /* sub-blocks */

/* The state of a sub-block's descent: its codes from -top, and the sums of w * x * code and
 * w * code * code over them, where w = x * x. */
struct descent {
    const vf *x;
    vf code[SIZE];
    vf sum_lx, sum_l2;
};

/* Begin with the codes for the scale that gives the extreme weight the code -top. */
INLINE void begin(struct descent *descent, const vf *x, struct fit *fit) {
    vf max = extreme_of(x, SIZE, &fit->largest);
    fit->is_zero = fit->largest < GROUP_MAX_EPS;
    fit->iscale = -(float)TOP / vselect(fit->is_zero, splat(1), max);
    vf sum_lx = splat(0), sum_l2 = splat(0);
    for (int i = 0; i < SIZE; i++) {
        vf code = code_of(x[i], fit->iscale, TOP), w = x[i] * x[i];
        descent->code[i] = code;
        sum_lx += w * x[i] * code;
        sum_l2 += w * code * code;
    }
    fit->undone = ~(is_finite(sum_lx) & is_finite(sum_l2) & (fit->largest < MAX_CUBED));
    descent->x = x;
    descent->sum_lx = sum_lx;
    descent->sum_l2 = sum_l2;
}

/* Give weight i the code that is best with the others' codes, where that lowers the error. Returns
 * the lanes in which it did. */
INLINE vi change(struct descent *descent, int i) {
    const vf sum_lx = descent->sum_lx, sum_l2 = descent->sum_l2, old = descent->code[i];
    const vf x = descent->x[i], w = x * x, wx = w * x;
    vf rest_lx = sum_lx - wx * old;
    vf rest_l2 = sum_l2 - w * old * old;
    vi wanted = nearest_int(x * rest_l2 / rest_lx);
    vf code = to_float(imax(imin(wanted, isplat(TOP - 1)), isplat(-TOP)));
    vi wins = (rest_lx > 0) & (code != old);
    rest_lx += wx * code;
    rest_l2 += w * code * code;
    wins &= (rest_l2 > 0) & (rest_lx * rest_lx * sum_l2 > sum_lx * sum_lx * rest_l2);
    descent->sum_lx = vselect(wins, rest_lx, sum_lx);
    descent->sum_l2 = vselect(wins, rest_l2, sum_l2);
    descent->code[i] = vselect(wins, code, old);
    return wins;
}

/* What a code adds to the sums, and the quotients that keep it: between these times a divisor, a
 * dividend certainly gives the code again. The limits leave out a little on both sides of the
 * code's own range, much more than what rounding can do, and end where nearest_int does. */
struct choice {
    vf lx, l2, least, most;
};

INLINE struct choice choice_of(vf x, vf code) {
    vf w = x * x;
    struct choice choice;
    choice.lx = w * x * code;
    choice.l2 = w * code * code;
    choice.least = vselect(code == -TOP, splat(-1e6f), code - 0.499f);
    choice.most = vselect(code == TOP - 1, splat(1e6f), code + 0.499f);
    return choice;
}

/* Whether change() may do something in some lane, found out without a division. */
INLINE int may_change(const struct descent *descent, const struct choice *choice, int i) {
    vf rest_lx = descent->sum_lx - choice->lx;
    vf dividend = descent->x[i] * (descent->sum_l2 - choice->l2);
    vi stays = (dividend >= choice->least * rest_lx) & (dividend <= choice->most * rest_lx)
        & (rest_lx > MIN_EXACT);
    return any((rest_lx > 0) & ~stays);
}

/* The second to fifth rounds: most codes stay. A lane in which a round changed nothing would change
 * nothing in the next, so that all lanes may do as many rounds as one of them needs. */
INLINE void settle(struct descent *descent) {
    struct choice choices[SIZE];
    for (int i = 0; i < SIZE; i++) choices[i] = choice_of(descent->x[i], descent->code[i]);
    for (int round = 1; round < 5; round++) {
        vi has_changed = isplat(0);
        for (int i = 0; i < SIZE; i++) {
            if (!may_change(descent, &choices[i], i)) continue;
            has_changed |= change(descent, i);
            choices[i] = choice_of(descent->x[i], descent->code[i]);
        }
        if (!any(has_changed)) break;
    }
}

/* make_q3_quants: without a matrix, codes are changed one at a time, in up to 5 rounds, until a
 * round changes nothing. Writes the scales; codes are from 0.
 *
 * In the first round most weights want another code in some lane. Each change waits for the one
 * before; sub-blocks that take turns keep the processor busy meanwhile. */
INLINE void descend(const vf *x, vi *codes, vf *scale, struct fit *fits) {
    struct descent descents[TOGETHER];
    for (int j = 0; j < TOGETHER; j++) begin(&descents[j], x + SIZE * j, &fits[j]);
    for (int i = 0; i < SIZE; i++)
        for (int j = 0; j < TOGETHER; j++) change(&descents[j], i);
    for (int j = 0; j < TOGETHER; j++) {
        struct descent *descent = &descents[j];
        settle(descent);
        vf quotient = vselect(descent->sum_l2 > 0, descent->sum_lx / descent->sum_l2, splat(0));
        scale[j] = vselect(fits[j].is_zero, splat(0), quotient);
        for (int i = 0; i < SIZE; i++)
            codes[SIZE * j + i] = to_int(descent->code[i] + TOP) & ~fits[j].is_zero;
    }
}

/* Return d before it goes through half precision; the codes of the scales are from 0 to 63. */
INLINE vf scale_by_extreme(const vf *scale, vi *scale_code, vi *undone) {
    vf largest;
    vf max = extreme_of(scale, SUB_BLOCKS, &largest);
    vi is_zero = max == 0;
    vf iscale = -(float)TOP_SCALE / vselect(is_zero, splat(1), max);
    for (int j = 0; j < SUB_BLOCKS; j++) {
        vf wanted = iscale * scale[j];
        *undone |= ~is_roundable(wanted);
        scale_code[j] = to_int(nearest_limited(wanted, -TOP_SCALE, TOP_SCALE - 1) + TOP_SCALE)
            & ~is_zero;
    }
    return vselect(is_zero, splat(0), 1 / iscale);
}

/* The low 4 bits of scale j and j + 8 share a byte; so do the high 2 bits of j, j + 4, j + 8, j +
 * 12. */
INLINE void store_scales(const vi *scales, uint8_t *out, int offset) {
    vi words[3];
    words[0] = words[1] = words[2] = isplat(0);
    for (int j = 0; j < 8; j++)
        words[j / 4] |= ((scales[j] & 15) | (scales[j + 8] & 15) << 4) << 8 * (j % 4);
    for (int j = 0; j < 16; j++) words[2] |= scales[j] >> 4 << (8 * (j % 4) + 2 * (j / 4));
    store_words(out, BYTES, offset, words, 3);
}

/* Bit j of byte i is the high bit of weight 32 * j + i. */
INLINE void store_high_bits(const vi *codes, uint8_t *out) {
    vi words[8];
    for (int i = 0; i < 32; i += 4) {
        vi word = isplat(0);
        for (int k = 0; k < 4; k++)
            for (int j = 0; j < 8; j++) word |= codes[32 * j + i + k] >> 2 << (8 * k + j);
        words[i / 4] = word;
    }
    store_words(out, BYTES, 0, words, 8);
}

vi quantize_q3_k(const struct tile *tile, uint8_t *out) {
    struct fit fits[SUB_BLOCKS];
    vf scale[SUB_BLOCKS], sum_w[SUB_BLOCKS], weights[SIZE];
    vi kept[MAX_BLOCK], codes[MAX_BLOCK], scale_code[SUB_BLOCKS];
    vi undone = isplat(0);
    vf d;

    if (tile->has_importance) {
        vf sigma2 = 2 * sum_of_squares(tile->x, MAX_BLOCK) / MAX_BLOCK;
        for (int j = 0; j < SUB_BLOCKS; j++) {
            const vf *x = tile->x + SIZE * j;
            sum_w[j] = weigh(x, tile->importance + SIZE * j, sigma2, SIZE, weights);
            fits[j] = fit_sub_block(x, weights, SIZE, TOP);
            scale[j] = fits[j].scale;
        }
        struct fit fit = fit_sub_block(scale, sum_w, SUB_BLOCKS, TOP_SCALE);
        for (int j = 0; j < SUB_BLOCKS; j++)
            scale_code[j] = searched_code(scale[j], &fit, TOP_SCALE);
        d = fit.scale;
        undone |= fit.undone;
    } else {
        for (int j = 0; j < SUB_BLOCKS; j += TOGETHER)
            descend(tile->x + SIZE * j, kept + SIZE * j, scale + j, fits + j);
        d = scale_by_extreme(scale, scale_code, &undone);
    }
    vi half_d = half_bits(d);
    d = half_value(half_d);
    for (int j = 0; j < SUB_BLOCKS; j++) {
        undone |= fits[j].undone;
        final_codes(tile->x + SIZE * j, &fits[j], tile->has_importance ? 0 : kept + SIZE * j,
                    d * to_float(scale_code[j] - TOP_SCALE), SIZE, TOP, codes + SIZE * j, &undone);
    }
    store_high_bits(codes, out);
    store_two_bits(codes, out, BYTES, 32);
    store_scales(scale_code, out, 96);
    store_half(out, BYTES, 108, half_d);
    return undone;
}
