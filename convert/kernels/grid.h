/* The grids of the IQ2 and IQ3 types, and the search for the nearest point.
 *
 * Source: ggml-quants.c of llama.cpp, iq2xs_init_impl, iq3xs_init_impl, iq2_find_best_neighbour and
 * iq3_find_best_neighbour.
 *
 * A group is 8 magnitudes with 3 levels each (IQ2) or 4 magnitudes with 8 levels each (IQ3); level
 * l stands for scale * (2*l + 1). Only some of the 6561 (4096) combinations are points of the
 * grid. Where rounding gives another one, ggml walks a list of the points nearest to it, and takes
 * the first with the least weighted error
 *
 *     ((w0*d0*d0 + w1*d1*d1) + w2*d2*d2) + ...,   d = scale * (2*level + 1) - magnitude.
 *
 * These walks are where ggml's time goes, and one lane for each block does not help: the lists of
 * two lanes differ in points and length. So the walk turns the vectors around. It is done for one
 * lane after another, with NEAR points of its list at once:
 *   - A magnitude has only 3 (8) possible terms w*d*d. They are computed once for a walk, in 4 (8)
 *     places for each magnitude, 32 for a group: TERMS vectors.
 *   - A point is stored as a code with FIELD bits for each magnitude: the place of its term in its
 *     vector. A permutation of the vector then fetches the terms of one magnitude for NEAR points.
 *   - The terms are added in ggml's order.
 *   - A list fills its vectors so that its first points stand in place 0, the next ones in place 1,
 *     and so on. Within a place, and then from place to place, a later point replaces an earlier
 *     one only where its error is less: in a tie the first of the list wins, as in ggml.
 * A combination that is a point has a list of its own, with itself alone. So no lane branches.
 *
 * Without permutations (LANES is 4 then) a walk fetches the terms from memory, point by point.
 */
#ifndef GRID_H
#define GRID_H

#include <float.h>

#include "tile.h"

#if defined(__AVX512F__)
#define NEAR 16
#define FIELD 4
#else
#define NEAR 8
#define FIELD 3
#endif
#define TERMS (32 / NEAR)
#define HAS_PERMUTATION (NEAR == LANES)

typedef float nf __attribute__((vector_size(4 * NEAR)));    /* one float a place */
typedef int32_t ni __attribute__((vector_size(4 * NEAR)));

#define NO_POINT 0xffff

/* The shape of groups. Always a constant, so that the compiler unfolds the loops. */
struct shape {
    int size;    /* magnitudes: 8 or 4 */
    int levels;  /* of each: 3 or 8 */
};

/* A combination's number is the sum of its levels times levels^0, levels^1, ... */
struct grid {
    uint16_t *index;  /* [combinations]: the number of the point, or NO_POINT */
    uint32_t *first;  /* [combinations + 1]: the first vector of the list */
    int32_t *codes;   /* [vectors][NEAR] */
};

/* The types that have a grid, by their number in enum ggml_type. */
enum { IQ2_XXS = 16, IQ2_XS = 17, IQ3_XXS = 18, IQ3_S = 21, IQ2_S = 22 };

/* The grid of one of them. Its tables are empty until kernels_set_grid was called. */
const struct grid *grid_of(int type);

INLINE int places(const struct shape shape) { return shape.levels == 3 ? 4 : 8; }

/* The vector with the terms of magnitude i, and the place of its level 0 there. */
INLINE int vector_of(int i, const struct shape shape) { return i * places(shape) / NEAR; }
INLINE int first_place(int i, const struct shape shape) { return i * places(shape) % NEAR; }

/* The code of the point with level 0 everywhere. */
INLINE int32_t lowest_code(const struct shape shape) {
    uint32_t code = 0;
    for (int i = 0; i < shape.size; i++) code |= (uint32_t)first_place(i, shape) << FIELD * i;
    return (int32_t)code;
}

/* The level of magnitude i in each lane's code. */
INLINE vi level_in(vi code, int i, const struct shape shape) {
    return (code >> FIELD * i) & (places(shape) - 1);
}

/* The number of the combination of levels in a code. */
INLINE vi combination_in(vi code, const struct shape shape) {
    vi number = isplat(0);
    for (int i = shape.size - 1; i >= 0; i--)
        number = number * shape.levels + level_in(code, i, shape);
    return number;
}

/* The values of the levels, 2*level + 1, in each place of a vector of terms. */
static const float VALUES_OF_3[16] = {1, 3, 5, 0, 1, 3, 5, 0, 1, 3, 5, 0, 1, 3, 5, 0};
static const float VALUES_OF_8[16] = {1, 3, 5, 7, 9, 11, 13, 15, 1, 3, 5, 7, 9, 11, 13, 15};

INLINE nf level_values(const struct shape shape) {
    nf values;
    memcpy(&values, shape.levels == 3 ? VALUES_OF_3 : VALUES_OF_8, sizeof values);
    return values;
}

/* A group of magnitudes and their weights, each as often as it has places. */
struct spread {
    nf x[LANES][TERMS], weights[LANES][TERMS];
};

INLINE void spread_group(const vf *x, const vf *weights, struct spread *out,
                         const struct shape shape) {
    for (int lane = 0; lane < LANES; lane++)
        for (int t = 0; t < TERMS; t++)
            for (int place = 0; place < NEAR; place++) {
                int i = (t * NEAR + place) / places(shape);
                out->x[lane][t][place] = x[i][lane];
                out->weights[lane][t][place] = weights[i][lane];
            }
}

INLINE void terms_of(const struct spread *group, int lane, float scale, nf *terms,
                     const struct shape shape) {
    nf scaled = scale * level_values(shape);
    for (int t = 0; t < TERMS; t++) {
        nf difference = scaled - group->x[lane][t];
        terms[t] = group->weights[lane][t] * difference * difference;
    }
}

#if HAS_PERMUTATION
/* table[place % NEAR] for every place */
INLINE nf lookup(nf table, ni place) {
#if NEAR == 16
    return (nf)_mm512_permutexvar_ps((__m512i)place, (__m512)table);
#else
    return (nf)_mm256_permutevar8x32_ps((__m256)table, (__m256i)place);
#endif
}

/* The best points of a list: one in each place, with its error. */
struct walk {
    nf error;
    ni code;
};

INLINE struct walk keep_better(struct walk first, struct walk second) {
    ni is_less = second.error < first.error;
    return (struct walk){vselect(is_less, second.error, first.error),
                         iselect(is_less, second.code, first.code)};
}

INLINE struct walk walk_list(const struct grid *grid, int combination, const nf *terms,
                             const struct shape shape) {
    struct walk best = {splat(FLT_MAX), isplat(-1)};
    for (uint32_t v = grid->first[combination]; v < grid->first[combination + 1]; v++) {
        struct walk next;
        memcpy(&next.code, grid->codes + (size_t)NEAR * v, sizeof next.code);
        next.error = lookup(terms[0], next.code);
        for (int i = 1; i < shape.size; i++)
            next.error += lookup(terms[vector_of(i, shape)], next.code >> FIELD * i);
        best = keep_better(best, next);
    }
    return best;
}

/* Of two walks, keep the better of the places 0 and 1, of 2 and 3, and so on; or, for PAIRS_OF_4,
 * of the places 0 to 3 and 4 to 7. What is left of b follows what is left of a. */
#define MERGE(a, b, PAIRS) keep_better( \
        (struct walk){__builtin_shufflevector((a).error, (b).error, PAIRS(0)), \
                      __builtin_shufflevector((a).code, (b).code, PAIRS(0))}, \
        (struct walk){__builtin_shufflevector((a).error, (b).error, PAIRS(1)), \
                      __builtin_shufflevector((a).code, (b).code, PAIRS(1))})
#define FOUR(n) (n), (n) + 1, (n) + 2, (n) + 3
#if NEAR == 16
#define PAIRS_OF_1(k) (k), 2 + (k), 16 + (k), 18 + (k), 4 + (k), 6 + (k), 20 + (k), 22 + (k), \
    8 + (k), 10 + (k), 24 + (k), 26 + (k), 12 + (k), 14 + (k), 28 + (k), 30 + (k)
#define PAIRS_OF_4(k) FOUR(4 * (k)), FOUR(4 * (k) + 8), FOUR(4 * (k) + 16), FOUR(4 * (k) + 24)
#else
#define PAIRS_OF_1(k) (k), 2 + (k), 8 + (k), 10 + (k), 4 + (k), 6 + (k), 12 + (k), 14 + (k)
#define PAIRS_OF_4(k) FOUR(4 * (k)), FOUR(4 * (k) + 8)
#endif

/* The code of the best place of each lane's walk. */
INLINE vi best_codes(struct walk *walks) {
    for (int i = 0; i < LANES / 2; i++)
        walks[i] = MERGE(walks[2 * i], walks[2 * i + 1], PAIRS_OF_1);
    for (int i = 0; i < LANES / 4; i++)
        walks[i] = MERGE(walks[2 * i], walks[2 * i + 1], PAIRS_OF_1);
    for (int i = 0; i < LANES / 8; i++)
        walks[i] = MERGE(walks[2 * i], walks[2 * i + 1], PAIRS_OF_4);
#if NEAR == 16
    walks[0] = MERGE(walks[0], walks[1], PAIRS_OF_4);
#endif
    return walks[0].code;
}

/* The code of the nearest point in each lane; -1 where no error is less than FLT_MAX, at which ggml
 * aborts. */
INLINE vi nearest_point(const struct grid *grid, const struct spread *group, vi combination,
                        vf scale, const struct shape shape) {
    struct walk walks[LANES];
    for (int lane = 0; lane < LANES; lane++) {
        nf terms[TERMS];
        terms_of(group, lane, scale[lane], terms, shape);
        walks[lane] = walk_list(grid, combination[lane], terms, shape);
    }
    return best_codes(walks);
}

/* The value 2*level + 1 of magnitude i in each lane's code. */
INLINE vf value_in(vi code, int i, const struct shape shape) {
    return lookup(level_values(shape), code >> FIELD * i);
}

#else

INLINE vi nearest_point(const struct grid *grid, const struct spread *group, vi combination,
                        vf scale, const struct shape shape) {
    vi found = isplat(-1);
    for (int lane = 0; lane < LANES; lane++) {
        const uint32_t *first = grid->first + combination[lane];
        nf terms[TERMS];
        float term[TERMS * NEAR], least = FLT_MAX;
        terms_of(group, lane, scale[lane], terms, shape);
        memcpy(term, terms, sizeof term);
        for (int place = 0; place < NEAR; place++)
            for (uint32_t v = first[0]; v < first[1]; v++) {
                int32_t code = grid->codes[(size_t)NEAR * v + place];
                float error = term[code & (NEAR - 1)];
                for (int i = 1; i < shape.size; i++)
                    error += term[NEAR * vector_of(i, shape) + ((code >> FIELD * i) & (NEAR - 1))];
                if (error < least) {
                    least = error;
                    found[lane] = code;
                }
            }
    }
    return found;
}

INLINE vf value_in(vi code, int i, const struct shape shape) {
    vi level = level_in(code, i, shape);
    return to_float(level + level + 1);
}
#endif

#endif
