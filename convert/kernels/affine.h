/* The searches that Q2_K, Q4_K, Q5_K, Q4_1 and Q5_1 share: weight = scale * code - minimum.
 *
 * Source: ggml-quants.c of llama.cpp, make_qkx2_quants, make_qkx3_quants and make_qp_quants.
 */
#ifndef AFFINE_H
#define AFFINE_H

#include "tile.h"

/* How a sub-block is searched. */
struct search {
    int weights;       /* of a sub-block */
    float top;         /* the largest code */
    float first, step; /* trial t divides the range into top + first + step * t parts */
    int last;          /* the number of the last trial, counted from 0 */
    int is_absolute;   /* whether absolute differences are summed up, rather than squared ones */
};

/* The best scale and minimum of a sub-block, and what its codes were made with. */
struct fit {
    vf scale, minimum;  /* ggml's the_min: the lowest value with its sign changed, never negative */
    vf iscale, base;    /* code = nearest(iscale * (x - base)), within 0 and top */
    vf low, high;       /* the extreme weights */
    vi undone;
};

INLINE vf code_of(vf x, vf iscale, vf base, float top) {
    return nearest_limited(iscale * (x - base), 0, top);
}

/* Mark the lanes where a code would be outside of what nearest_int is made for. iscale * (x - base)
 * grows with x, and so does its rounding: if both extremes are fine, all between them are. */
INLINE vi is_out_of_range(vf low, vf high, vf iscale, vf base) {
    return ~(is_roundable(iscale * (low - base)) & is_roundable(iscale * (high - base)));
}

INLINE vf weighted_error(const vf *x, const vf *codes, const vf *weights, vf scale, vf base,
                         const struct search how) {
    vf error = splat(0);
    for (int i = 0; i < how.weights; i++) {
        vf difference = scale * codes[i] + base - x[i];
        difference = how.is_absolute ? vabs(difference) : difference * difference;
        error += weights[i] * difference;
    }
    return error;
}

/* make_qkx2_quants, which make_qkx3_quants with weights equals.
 *
 * A trial divides the range from the lowest to the highest weight into codes, and solves the
 * weighted least squares for scale and minimum with these codes fixed. Where a trial wins, its
 * minimum replaces the lowest weight, and the trials after it start from there.
 */
INLINE struct fit fit_sub_block(const vf *x, const vf *weights, const struct search how) {
    struct fit fit;
    vf codes[32];
    vf low = x[0], high = x[0];
    vf sum_w = weights[0], sum_x = sum_w * x[0];
    for (int i = 1; i < how.weights; i++) {
        low = vmin(x[i], low);
        high = vmax(x[i], high);
        sum_w += weights[i];
        sum_x += weights[i] * x[i];
    }
    vf base = vselect(low > 0, splat(0), low);
    vi is_constant = high == base;
    /* A constant sub-block has no range: it gets one, in which no trial wins. */
    high = vselect(is_constant, base + 1, high);
    fit.undone = ~(is_finite(sum_w) & is_finite(sum_x));

    vf first_base = base;
    vf iscale = how.top / (high - base);
    fit.undone |= is_out_of_range(low, high, iscale, base);
    fit.iscale = iscale;
    fit.base = base;
    fit.scale = 1 / iscale;
    for (int i = 0; i < how.weights; i++) codes[i] = code_of(x[i], iscale, base, how.top);
    vf best = weighted_error(x, codes, weights, fit.scale, base, how);
    for (int trial = 0; trial <= how.last; trial++) {
        iscale = (how.first + how.step * trial + how.top) / (high - base);
        fit.undone |= is_out_of_range(low, high, iscale, base);
        vf sum_l = splat(0), sum_l2 = splat(0), sum_xl = splat(0);
        for (int i = 0; i < how.weights; i++) {
            codes[i] = code_of(x[i], iscale, base, how.top);
            vf wl = weights[i] * codes[i];
            sum_l += wl;
            sum_l2 += wl * codes[i];
            sum_xl += wl * x[i];
        }
        vf determinant = sum_w * sum_l2 - sum_l * sum_l;
        vf scale = (sum_w * sum_xl - sum_x * sum_l) / determinant;
        vf minimum = (sum_l2 * sum_x - sum_l * sum_xl) / determinant;
        vi is_positive = minimum > 0;
        minimum = vselect(is_positive, splat(0), minimum);
        scale = vselect(is_positive, sum_xl / sum_l2, scale);
        vf error = weighted_error(x, codes, weights, scale, minimum, how);
        vi wins = (determinant > 0) & (error < best) & ~is_constant;
        best = vselect(wins, error, best);
        fit.iscale = vselect(wins, iscale, fit.iscale);
        fit.base = vselect(wins, base, fit.base);
        fit.scale = vselect(wins, scale, fit.scale);
        base = vselect(wins, minimum, base);
    }
    fit.minimum = -vselect(is_constant, first_base, base);
    fit.scale = vselect(is_constant, splat(0), fit.scale);
    fit.iscale = vselect(is_constant, splat(0), fit.iscale);  /* all codes 0 */
    fit.low = low;
    fit.high = vselect(is_constant, low, high);
    return fit;
}

/* make_qp_quants: quantize the scales (or minima) of a super-block to codes 0 to top, and return
 * the scale of these. With an importance matrix only.
 *
 * Lanes with a negative x are left to ggml, whose codes wrap around there.
 */
INLINE vf fit_scales(const vf *x, const vf *weights, vi *codes, int n, float top, vi *undone) {
    vf max = splat(0);
    for (int i = 0; i < n; i++) {
        max = vmax(max, x[i]);
        *undone |= ~((x[i] >= 0) & is_finite(x[i]) & is_finite(weights[i]));
    }
    vi is_zero = max < 1e-15f;  /* GROUP_MAX_EPS */
    max = vselect(is_zero, splat(1), max);

    vf iscale = top / max;
    vf scale = 1 / iscale;
    vf best = splat(0);
    for (int i = 0; i < n; i++) {
        vf difference = x[i] - scale * to_float(nearest_int(iscale * x[i]));
        best += weights[i] * difference * difference;
    }
    for (int trial = -4; trial <= 4; trial++) {
        if (trial == 0) continue;
        vf trial_iscale = (0.1f * trial + top) / max;
        scale = 1 / trial_iscale;
        vf error = splat(0);
        for (int i = 0; i < n; i++) {
            vf difference = x[i] - scale * nearest_limited(trial_iscale * x[i], 0, top);
            error += weights[i] * difference * difference;
        }
        vi wins = error < best;
        best = vselect(wins, error, best);
        iscale = vselect(wins, trial_iscale, iscale);
    }

    vf code[16];
    vf sum_lx = splat(0), sum_l2 = splat(0);
    for (int i = 0; i < n; i++) {
        code[i] = nearest_limited(iscale * x[i], 0, top);
        sum_lx += weights[i] * x[i] * code[i];
        sum_l2 += weights[i] * code[i] * code[i];
    }
    /* One code at a time is changed where that lowers the error. A lane in which a round changed
       nothing would change nothing in the next, so that all lanes may do as many rounds as one. */
    for (int round = 0; round < 5; round++) {
        vi has_changed = isplat(0);
        for (int i = 0; i < n; i++) {
            vf w = weights[i];
            vf rest_lx = sum_lx - w * x[i] * code[i];
            vf rest_l2 = sum_l2 - w * code[i] * code[i];
            vi is_usable = (rest_lx > 0) & (rest_l2 > 0) & ~is_zero;
            vi wanted = imin(nearest_int(x[i] * rest_l2 / rest_lx), isplat((int)top));
            vf changed = to_float(wanted);
            rest_lx += w * x[i] * changed;
            rest_l2 += w * changed * changed;
            vi wins = is_usable & (changed != code[i])
                & (rest_lx * rest_lx * sum_l2 > sum_lx * sum_lx * rest_l2);
            /* ggml keeps it in a byte */
            code[i] = vselect(wins, to_float(wanted & 0xff), code[i]);
            sum_lx = vselect(wins, rest_lx, sum_lx);
            sum_l2 = vselect(wins, rest_l2, sum_l2);
            has_changed |= wins;
        }
        if (!any(has_changed)) break;
    }
    for (int i = 0; i < n; i++) {
        codes[i] = to_int(vselect(is_zero, splat(0), code[i]));
        *undone |= code[i] > top;
    }
    return vselect(~is_zero & (sum_l2 > 0), sum_lx / sum_l2, splat(0));
}

/* The same without an importance matrix: the largest becomes the code `top`. A negative scale
 * gives a negative code. */
INLINE vf scale_by_largest(const vf *x, vi *codes, int n, float top) {
    vf max = splat(0);
    for (int i = 0; i < n; i++) max = vmax(x[i], max);
    vf inverse = vselect(max > 0, top / max, splat(0));
    for (int i = 0; i < n; i++) codes[i] = nearest_int(inverse * x[i]);
    return max / top;
}

/* The final codes of a sub-block, once its scale d and minimum m went through half precision:
 * nearest((x + m) / d). Where d became zero ggml keeps the codes of the search. */
INLINE void final_codes(const vf *x, const struct fit *fit, vf d, vf m, int n, float top, vi *codes,
                        vi *undone) {
    vi is_zero = d == 0;
    vf divisor = vselect(is_zero, splat(1), d);
    *undone |= ~is_zero & ~(is_roundable((fit->low + m) / divisor)
                            & is_roundable((fit->high + m) / divisor));
    for (int i = 0; i < n; i++)
        codes[i] = to_int(nearest_limited((x[i] + m) / divisor, 0, top));
    if (any(is_zero))
        for (int i = 0; i < n; i++) {
            vf searched = code_of(x[i], fit->iscale, fit->base, top);
            codes[i] = iselect(is_zero, to_int(searched), codes[i]);
        }
}

#endif
