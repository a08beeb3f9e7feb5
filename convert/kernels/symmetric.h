/* The searches that Q3_K, Q6_K, Q4_0 and Q5_0 share: weight = scale * code, with codes from -top
 * to top - 1.
 *
 * Source: ggml-quants.c of llama.cpp, make_qx_quants with rmse_type 1.
 */
#ifndef SYMMETRIC_H
#define SYMMETRIC_H

#include "tile.h"

#define GROUP_MAX_EPS 1e-15f

/* The best scale of a sub-block, and what its codes were made with. */
struct fit {
    vf scale;
    vf iscale;   /* code = nearest(iscale * x), within -top and top - 1 */
    vf largest;  /* the greatest magnitude */
    vi is_zero;  /* ggml takes it for zero, and keeps the lowest code */
    vi undone;
};

INLINE vf code_of(vf x, vf iscale, float top) {
    return nearest_limited(iscale * x, -top, top - 1);
}

/* The weight of the greatest magnitude, the first of several; `largest` gets the magnitude. */
INLINE vf extreme_of(const vf *x, int n, vf *largest) {
    vf max = splat(0);
    *largest = splat(0);
    for (int i = 0; i < n; i++) {
        vf magnitude = vabs(x[i]);
        max = vselect(magnitude > *largest, x[i], max);
        *largest = vmax(magnitude, *largest);
    }
    return max;
}

/* make_qx_quants: of 19 scales around the one that gives the extreme weight the code -top, that
 * which leaves the smallest error. Codes need no check: |iscale * x| is at most top + 1. */
INLINE struct fit fit_sub_block(const vf *x, const vf *weights, int n, float top) {
    struct fit fit;
    vf wx[32];
    vf max = extreme_of(x, n, &fit.largest);
    fit.is_zero = fit.largest < GROUP_MAX_EPS;
    max = vselect(fit.is_zero, splat(1), max);

    fit.iscale = -top / max;
    vf sum_lx = splat(0), sum_l2 = splat(0);
    for (int i = 0; i < n; i++) {
        vf l = code_of(x[i], fit.iscale, top);
        wx[i] = weights[i] * x[i];
        sum_lx += wx[i] * l;
        sum_l2 += weights[i] * l * l;
    }
    fit.undone = ~(is_finite(fit.largest) & is_finite(sum_lx) & is_finite(sum_l2));
    fit.scale = vselect(sum_l2 != 0, sum_lx / sum_l2, splat(0));
    vf best = fit.scale * sum_lx;
    for (int trial = -9; trial <= 9; trial++) {
        if (trial == 0) continue;
        vf iscale = -(top + 0.1f * trial) / max;
        sum_lx = sum_l2 = splat(0);
        for (int i = 0; i < n; i++) {
            vf l = code_of(x[i], iscale, top);
            sum_lx += wx[i] * l;
            sum_l2 += weights[i] * l * l;
        }
        vi wins = (sum_l2 > 0) & (sum_lx * sum_lx > best * sum_l2);
        vf scale = sum_lx / sum_l2;
        fit.scale = vselect(wins, scale, fit.scale);
        fit.iscale = vselect(wins, iscale, fit.iscale);
        best = vselect(wins, scale * sum_lx, best);
    }
    fit.scale = vselect(fit.is_zero, splat(0), fit.scale);
    return fit;
}

/* The codes of the search, from 0 to 2 * top - 1. */
INLINE vi searched_code(vf x, const struct fit *fit, float top) {
    return to_int(code_of(x, fit->iscale, top) + top) & ~fit->is_zero;
}

/* The final codes of a sub-block, from 0 to 2 * top - 1, once its scale d went through half
 * precision: nearest(x / d). Where d became zero ggml keeps the codes of the search, which are
 * `kept` where they are not those of fit_sub_block. */
INLINE void final_codes(const vf *x, const struct fit *fit, const vi *kept, vf d, int n, float top,
                        vi *codes, vi *undone) {
    vi is_zero = d == 0;
    vf divisor = vselect(is_zero, splat(1), d);
    *undone |= ~is_zero & ~is_roundable(fit->largest / divisor);
    for (int i = 0; i < n; i++)
        codes[i] = to_int(nearest_limited(x[i] / divisor, -top, top - 1) + top);
    if (any(is_zero))
        for (int i = 0; i < n; i++)
            codes[i] = iselect(is_zero, kept ? kept[i] : searched_code(x[i], fit, top), codes[i]);
}

#endif
