/* How a sub-block of an IQ2 or IQ3 type is fitted to a grid.
 *
 * Source: ggml-quants.c of llama.cpp, the loops over the sub-blocks in quantize_row_iq2_xxs_impl,
 * quantize_row_iq2_xs_impl, quantize_row_iq2_s_impl, quantize_row_iq3_xxs_impl and
 * quantize_row_iq3_s_impl, which differ in what struct grid_type says.
 *
 * Signs and magnitudes are stored apart. A number of scales is tried: each rounds the magnitudes,
 * finds the points of the grid, and is compared by how well a scale of least squares then fits.
 * With the best one, points are chosen again.
 */
#ifndef GRID_FIT_H
#define GRID_FIT_H

#include "grid.h"

#define MAX_SUB_BLOCK 32
#define MAX_GROUPS 8

/* Which groups choose a point again, once the best scale is known. */
enum again { NO_POINTS, ALL_WHERE_ONE_IS_NO_POINT, ALL };

/* Always a constant, so that the compiler unfolds the loops. */
struct grid_type {
    struct shape shape;
    int groups;            /* of a sub-block */
    int trials;            /* scales are tried from -trials to trials */
    float step;            /* trial * step is added to the largest level's value */
    float least;           /* a sub-block with a maximum below this is stored as zero */
    int stores_7_signs;    /* of 8: the number of negative weights is made even */
    enum again again;
};

/* A sub-block of weights without their signs. */
struct magnitudes {
    vf x[MAX_SUB_BLOCK];
    vi signs[MAX_SUB_BLOCK / 8];  /* a bit for each of 8 weights: it is negative */
    vf max;                       /* of x, where a weight whose sign was flipped is negative */
    vf largest;                   /* of |x| */
};

struct grid_fit {
    vf scale;               /* 0 where the sub-block is stored as zero */
    vi index[MAX_GROUPS];   /* the number of each group's point */
    vi undone;
};

INLINE int weights_of(const struct grid_type type) { return type.groups * type.shape.size; }

/* Flip the sign of the weight that matters least in the lanes of `flips`. */
INLINE void flip_least(const vf *x, const vf *weights, vi flips, vf *magnitudes, vi *signs) {
    vf least = weights[0] * x[0] * x[0];
    vi which = isplat(0);
    for (int i = 1; i < 8; i++) {
        vf cost = weights[i] * x[i] * x[i];
        vi is_less = cost < least;
        least = vselect(is_less, cost, least);
        which = iselect(is_less, isplat(i), which);
    }
    for (int i = 0; i < 8; i++) {
        vi is_this = flips & (which == i);
        magnitudes[i] = vselect(is_this, -magnitudes[i], magnitudes[i]);
        *signs ^= is_this & (1 << i);
    }
}

INLINE void split_signs(const vf *x, const vf *weights, struct magnitudes *out,
                        const struct grid_type type) {
    for (int k = 0; k < weights_of(type); k += 8) {
        vi signs = isplat(0), is_odd = isplat(0);
        for (int i = 0; i < 8; i++) {
            vi is_negative = ~(x[k + i] >= 0);
            out->x[k + i] = vselect(is_negative, -x[k + i], x[k + i]);
            signs |= is_negative & (1 << i);
            is_odd ^= is_negative;
        }
        if (type.stores_7_signs) {
            flip_least(x + k, weights + k, is_odd, out->x + k, &signs);
            signs &= 127;
        }
        out->signs[k / 8] = signs;
    }
    out->max = out->x[0];
    out->largest = vabs(out->x[0]);
    for (int i = 1; i < weights_of(type); i++) {
        out->max = vmax(out->max, out->x[i]);
        out->largest = vmax(out->largest, vabs(out->x[i]));
    }
}

/* Round a group: the number of the combination of levels in each lane. Where iscale * x is not
 * is_roundable the number is another than ggml's, but always one of a combination. */
INLINE vi round_group(const vf *x, vf iscale, const struct shape shape) {
    vf number = splat(0);
    for (int i = shape.size - 1; i >= 0; i--)
        number = number * (float)shape.levels
            + nearest_limited(0.5f * (iscale * x[i] - 1), 0, shape.levels - 1);
    return to_int(number);
}

INLINE vi index_of(const struct grid *grid, vi combination) {
    vi index;
    for (int lane = 0; lane < LANES; lane++) index[lane] = grid->index[combination[lane]];
    return index;
}

/* A sub-block while its scale is sought. */
struct scale_search {
    const struct grid *grid;
    const vf *x;                       /* the magnitudes */
    vf largest;                        /* of |x| */
    vf weights[MAX_SUB_BLOCK], weighted[MAX_SUB_BLOCK];  /* w and w*x */
    struct spread groups[MAX_GROUPS];  /* with the square roots of w */
    vf scale, best;                    /* the scale of the best trial, and how well it fits */
    vi codes[MAX_GROUPS];              /* its points */
    vi is_point[MAX_GROUPS];           /* whether rounding gave these, without a walk */
    vi undone;
};

/* The sums whose quotient is the scale of least squares: of w*x*q and of w*q*q. */
INLINE void sum_up(const struct scale_search *search, const vi *codes, vf *sum_qx, vf *sum_q2,
                   const struct grid_type type) {
    *sum_qx = *sum_q2 = splat(0);
    for (int k = 0; k < type.groups; k++)
        for (int i = 0; i < type.shape.size; i++) {
            vf q = value_in(codes[k], i, type.shape);
            *sum_qx += search->weighted[type.shape.size * k + i] * q;
            *sum_q2 += search->weights[type.shape.size * k + i] * q * q;
        }
}

/* Try the scales around that which gives `max` the largest level. */
INLINE void try_scales(struct scale_search *search, vf max, const struct grid_type type) {
    search->best = splat(0);
    for (int trial = -type.trials; trial <= type.trials; trial++) {
        vf iscale = (2 * type.shape.levels - 1 + trial * type.step) / max;
        vf scale = 1 / iscale;
        search->undone |= ~is_roundable(iscale * search->largest);
        vi codes[MAX_GROUPS], is_point[MAX_GROUPS];
        for (int k = 0; k < type.groups; k++) {
            vi combination = round_group(search->x + type.shape.size * k, iscale, type.shape);
            is_point[k] = index_of(search->grid, combination) != NO_POINT;
            codes[k] = nearest_point(search->grid, &search->groups[k], combination, scale,
                                     type.shape);
            search->undone |= codes[k] == -1;
        }
        vf sum_qx, sum_q2;
        sum_up(search, codes, &sum_qx, &sum_q2, type);
        vi wins = (sum_q2 > 0) & (sum_qx * sum_qx > search->best * sum_q2);
        scale = sum_qx / sum_q2;
        search->scale = vselect(wins, scale, search->scale);
        search->best = vselect(wins, scale * sum_qx, search->best);
        for (int k = 0; k < type.groups; k++) {
            search->codes[k] = iselect(wins, codes[k], search->codes[k]);
            search->is_point[k] = iselect(wins, is_point[k], search->is_point[k]);
        }
    }
}

/* Choose points again with the scale that was found. */
INLINE void choose_again(struct scale_search *search, const struct grid_type type) {
    vi chooses = isplat(type.again == ALL ? -1 : 0);
    for (int k = 0; k < type.groups; k++) chooses |= ~search->is_point[k];
    chooses &= search->scale > 0;
    if (!any(chooses)) return;
    vf scale = vselect(chooses, search->scale, splat(1));
    vf iscale = 1 / scale;
    search->undone |= chooses & ~is_roundable(iscale * search->largest);
    for (int k = 0; k < type.groups; k++) {
        vi again = type.again == NO_POINTS ? chooses & ~search->is_point[k] : chooses;
        vi combination = round_group(search->x + type.shape.size * k, iscale, type.shape);
        vi codes = nearest_point(search->grid, &search->groups[k], combination, scale, type.shape);
        search->undone |= again & (codes == -1);
        search->codes[k] = iselect(again, codes, search->codes[k]);
    }
    vf sum_qx, sum_q2;
    sum_up(search, search->codes, &sum_qx, &sum_q2, type);
    search->scale = vselect(chooses & (sum_q2 > 0), sum_qx / sum_q2, search->scale);
}

/* Fit a sub-block.
 *
 * max is what the largest level stands for in the middle trial. scale, the lowest levels, and
 * whether they count as points are what holds if no trial wins. Lanes of `is_zero` get the scale
 * and the indices 0. Where the scale becomes negative, all signs are changed instead.
 */
INLINE struct grid_fit fit_to_grid(const struct grid *grid, struct magnitudes *magnitudes,
                                   const vf *weights, vi is_zero, vf max, vf scale, int are_points,
                                   const struct grid_type type) {
    struct scale_search search = {.grid = grid, .x = magnitudes->x, .scale = scale};
    struct grid_fit fit;
    vf roots[MAX_SUB_BLOCK];
    for (int i = 0; i < weights_of(type); i++) {
        roots[i] = vsqrt(weights[i]);
        search.weights[i] = weights[i];
        search.weighted[i] = weights[i] * magnitudes->x[i];
    }
    for (int k = 0; k < type.groups; k++) {
        const int first = type.shape.size * k;
        spread_group(magnitudes->x + first, roots + first, &search.groups[k], type.shape);
        search.codes[k] = isplat(lowest_code(type.shape));
        search.is_point[k] = isplat(are_points ? -1 : 0);
    }
    search.largest = magnitudes->largest;
    search.undone = isplat(0);
    try_scales(&search, vselect(is_zero, splat(1), max), type);
    choose_again(&search, type);

    vi is_negative = search.scale < 0;
    for (int k = 0; k < weights_of(type) / 8; k++)
        magnitudes->signs[k] ^= is_negative & (type.stores_7_signs ? 127 : 255);
    for (int k = 0; k < type.groups; k++)
        fit.index[k] = index_of(grid, combination_in(search.codes[k], type.shape)) & ~is_zero;
    fit.scale = vselect(is_zero, splat(0), vabs(search.scale));
    fit.undone = ~is_zero & (search.undone | ~is_finite(search.scale));
    return fit;
}

/* The scales of a block as codes of 4 bits: they stand for d * (2*code + 1), where d is the largest
 * scale divided by 31. Returns d. Lanes in which all scales are zero get codes of 0. */
INLINE vf code_scales(const vf *scales, int n, vi *codes, vi *undone) {
    vf max = splat(0);
    for (int i = 0; i < n; i++) max = vmax(max, scales[i]);
    vi is_zero = max == 0;
    vf d = max / 31;
    vf id = 1 / vselect(is_zero, splat(1), d);
    *undone |= ~is_finite(id);
    for (int i = 0; i < n; i++)
        codes[i] = to_int(nearest_limited(0.5f * (id * scales[i] - 1), 0, 15)) & ~is_zero;
    return d;
}

#endif
