/* The tables of the grids.
 *
 * Source: ggml-quants.c of llama.cpp, iq2xs_init_impl and iq3xs_init_impl. Their constants, which
 * say what points there are, are not repeated here: Python reads the points from ggml's own tables
 * by dequantizing a block for each (grids.py).
 */
#include <stdlib.h>

#include "grid.h"

#define EXPORT __attribute__((visibility("default")))
#define MAX_POINTS 1024

struct grid_kind {
    int type;
    int points;
    int distances;  /* ggml's nwant: a list has the points at so many different distances */
    struct shape shape;
};

static const struct grid_kind KINDS[] = {
    {IQ2_XXS, 256, 2, {8, 3}},
    {IQ2_XS, 512, 2, {8, 3}},
    {IQ2_S, 1024, 1, {8, 3}},
    {IQ3_XXS, 256, 2, {4, 8}},
    {IQ3_S, 512, 3, {4, 8}},
};
#define KIND_COUNT ((int)(sizeof KINDS / sizeof *KINDS))
static struct grid grids[KIND_COUNT];

static int find_kind(int type) {
    for (int i = 0; i < KIND_COUNT; i++)
        if (KINDS[i].type == type) return i;
    return -1;
}

const struct grid *grid_of(int type) { return &grids[find_kind(type)]; }

static int combination_count(const struct shape shape) {
    int count = 1;
    for (int i = 0; i < shape.size; i++) count *= shape.levels;
    return count;
}

/* The points nearest to a combination, by distance and then by number. Returns how many. */
static int list_nearest(int combination, const uint8_t *levels, const struct grid_kind *kind,
                        uint16_t *list) {
    const int size = kind->shape.size;
    int squared[MAX_POINTS], count = 0, last = -1;
    for (int p = 0; p < kind->points; p++) {
        squared[p] = 0;
        for (int i = 0, rest = combination; i < size; i++, rest /= kind->shape.levels) {
            const int difference = rest % kind->shape.levels - levels[size * p + i];
            squared[p] += difference * difference;
        }
    }
    for (int n = 0; n < kind->distances; n++) {
        int next = INT32_MAX;
        for (int p = 0; p < kind->points; p++)
            if (squared[p] > last && squared[p] < next) next = squared[p];
        for (int p = 0; p < kind->points; p++)
            if (squared[p] == next) list[count++] = (uint16_t)p;
        last = next;
    }
    return count;
}

static void free_grid(struct grid *grid) {
    free(grid->index);
    free(grid->first);
    free(grid->codes);
}

/* Append a list to the codes, vector by vector: see grid.h. The rest of its last places repeats its
 * last point. */
static int append_list(struct grid *grid, uint32_t vectors, const uint16_t *list, int count,
                       const uint32_t *codes) {
    const int added = (count + NEAR - 1) / NEAR;
    int32_t *all = realloc(grid->codes, sizeof *all * NEAR * (vectors + (size_t)added));
    if (!all) return -1;
    grid->codes = all;
    for (int place = 0; place < NEAR; place++)
        for (int v = 0; v < added; v++) {
            const int n = place * added + v, point = list[n < count ? n : count - 1];
            all[NEAR * (size_t)(vectors + v) + place] = (int32_t)codes[point];
        }
    return added;
}

static int build_lists(struct grid *grid, const uint8_t *levels, const struct grid_kind *kind,
                       const uint32_t *codes) {
    const int combinations = combination_count(kind->shape);
    uint32_t vectors = 0;
    for (int c = 0; c < combinations; c++) {
        uint16_t list[MAX_POINTS] = {grid->index[c]};
        int count = 1;
        if (grid->index[c] == NO_POINT) count = list_nearest(c, levels, kind, list);
        const int added = append_list(grid, vectors, list, count, codes);
        if (added < 0) return 0;
        grid->first[c] = vectors;
        vectors += added;
    }
    grid->first[combinations] = vectors;
    return 1;
}

/* Build the tables of a type, once, before anything is quantized to it.
 *
 * levels is [points][size of a group]: the levels of the grid's points, in ggml's order. Returns 1;
 * 0 where memory ran out, and -1 for a type without grid or levels that cannot be.
 */
EXPORT int kernels_set_grid(int type, const uint8_t *levels, int points) {
    const int k = find_kind(type);
    if (k < 0 || points != KINDS[k].points) return -1;
    if (grids[k].first) return 1;
    const struct grid_kind *kind = &KINDS[k];
    const int size = kind->shape.size, combinations = combination_count(kind->shape);
    for (int i = 0; i < points * size; i++)
        if (levels[i] >= kind->shape.levels) return -1;

    struct grid grid = {malloc(sizeof *grid.index * combinations),
                        malloc(sizeof *grid.first * (combinations + 1)), NULL};
    uint32_t codes[MAX_POINTS] = {0};
    int is_built = grid.index && grid.first;
    if (is_built) {
        for (int c = 0; c < combinations; c++) grid.index[c] = NO_POINT;
        for (int p = 0; p < points; p++) {
            int combination = 0;
            for (int i = size - 1; i >= 0; i--) {
                const uint32_t level = levels[size * p + i];
                combination = combination * kind->shape.levels + (int)level;
                codes[p] |= (level + first_place(i, kind->shape)) << FIELD * i;
            }
            grid.index[combination] = (uint16_t)p;
        }
        is_built = build_lists(&grid, levels, kind, codes);
    }
    if (!is_built) {
        free_grid(&grid);
        return 0;
    }
    grids[k] = grid;
    return 1;
}
