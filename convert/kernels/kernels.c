/* The entry points that Python calls, and the table of all quantizers.
 *
 * This and the other files are compiled once for each level of the processor (see setup.py), into a
 * shared object each. The compiler's own target_clones does not work here: it leaves the vector
 * helpers compiled for the baseline, and not inlined.
 */
#include <stdlib.h>

#include "source.h"
#include "tile.h"

#define EXPORT __attribute__((visibility("default")))

vi quantize_q4_0(const struct tile *tile, uint8_t *out);
vi quantize_q4_1(const struct tile *tile, uint8_t *out);
vi quantize_q5_0(const struct tile *tile, uint8_t *out);
vi quantize_q5_1(const struct tile *tile, uint8_t *out);
vi quantize_q8_0(const struct tile *tile, uint8_t *out);
vi quantize_q2_k(const struct tile *tile, uint8_t *out);
vi quantize_q3_k(const struct tile *tile, uint8_t *out);
vi quantize_q4_k(const struct tile *tile, uint8_t *out);
vi quantize_q5_k(const struct tile *tile, uint8_t *out);
vi quantize_q6_k(const struct tile *tile, uint8_t *out);
vi quantize_iq2_xxs(const struct tile *tile, uint8_t *out);
vi quantize_iq2_xs(const struct tile *tile, uint8_t *out);
vi quantize_iq3_xxs(const struct tile *tile, uint8_t *out);
vi quantize_iq4_nl(const struct tile *tile, uint8_t *out);
vi quantize_iq3_s(const struct tile *tile, uint8_t *out);
vi quantize_iq2_s(const struct tile *tile, uint8_t *out);
vi quantize_iq4_xs(const struct tile *tile, uint8_t *out);
vi quantize_mxfp4(const struct tile *tile, uint8_t *out);

static const struct kernel KERNELS[] = {
    /* type, weights, bytes, quantize, matrix */
    {2, 32, 18, quantize_q4_0, USES_ROWS},
    {3, 32, 20, quantize_q4_1, USES_ROWS},
    {6, 32, 22, quantize_q5_0, USES_ROWS},
    {7, 32, 24, quantize_q5_1, USES_ROWS},
    {8, 32, 34, quantize_q8_0, IGNORES},
    {10, 256, 84, quantize_q2_k, USES},
    {11, 256, 110, quantize_q3_k, USES},
    {12, 256, 144, quantize_q4_k, USES},
    {13, 256, 176, quantize_q5_k, USES},
    {14, 256, 210, quantize_q6_k, USES},
    {16, 256, 66, quantize_iq2_xxs, USES},
    {17, 256, 74, quantize_iq2_xs, USES},
    {18, 256, 98, quantize_iq3_xxs, USES},
    {20, 32, 18, quantize_iq4_nl, USES},
    {21, 256, 110, quantize_iq3_s, USES},
    {22, 256, 82, quantize_iq2_s, USES},
    {23, 256, 136, quantize_iq4_xs, USES},
    {39, 32, 17, quantize_mxfp4, IGNORES},
};
/* What kernels_quantize returns instead of a count; Python has the same numbers. */
enum { ERROR_NO_KERNEL = -1, ERROR_RANGE = -2, ERROR_MEMORY = -3 };

#define KERNEL_COUNT ((int)(sizeof KERNELS / sizeof *KERNELS))

static const struct kernel *find_kernel(int type) {
    for (int i = 0; i < KERNEL_COUNT; i++)
        if (KERNELS[i].type == type) return &KERNELS[i];
    return 0;
}

/* Which of the levels this processor can run: 4 and 3 are x86-64-v4 and -v3, 1 is the baseline. */
EXPORT int kernels_processor_level(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")
          && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2")))
        return 1;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw")
        && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq")
        && __builtin_cpu_supports("avx512vl"))
        return 4;
    return 3;
#else
    return 1;
#endif
}

/* The version of this interface, which Python's must equal. */
EXPORT int kernels_interface(void) { return 2; }

EXPORT int kernels_support(int type) { return find_kernel(type) != 0; }

/* ggml_quantize_chunk: type, source, destination, first weight, rows, weights of a row, matrix. */
typedef size_t (*quantize_chunk)(int, const float *, void *, int64_t, int64_t, int64_t,
                                 const float *);

/* Side by side: tile[i][lane] = rows[lane][i]. */
static void fill(vf *tile, const float *const *rows, int n) {
    for (int i = 0; i < n; i += 4) {
        for (int k = 0; k < 4; k++) tile[i + k] = join_quads(rows + k, i);
        transpose_quads(tile + i);
    }
}

/* The means of the squares of AT_ONCE rows from `first` on. */
#define AT_ONCE 8
struct row_means {
    const struct source *source;
    int64_t first;  /* -AT_ONCE before any were computed */
    float means[AT_ONCE];
};

/* Rows must be asked for in their order. Each sum runs in ggml's order; those of several rows do
 * not wait for each other. */
static float mean_square_of(struct row_means *known, int64_t row, int *is_usable) {
    if (row >= known->first + AT_ONCE) {
        const int64_t columns = result_columns(known->source);
        const int64_t last = result_rows(known->source) - 1;
        float decoded[AT_ONCE][32], sums[AT_ONCE] = {0};
        for (int64_t column = 0; column < columns; column += 32) {
            const float *x[AT_ONCE];
            for (int i = 0; i < AT_ONCE; i++)
                x[i] = weights_of(known->source, row + i < last ? row + i : last, column, 32,
                                  decoded[i], is_usable);
            if (!*is_usable) return 0;
            for (int j = 0; j < 32; j++)
                for (int i = 0; i < AT_ONCE; i++) sums[i] += x[i][j] * x[i][j];
        }
        for (int i = 0; i < AT_ONCE; i++) known->means[i] = sums[i] / columns;
        known->first = row;
    }
    return known->means[row - known->first];
}

/* Let ggml quantize a whole row. Returns whether there was memory for it. */
static int leave_row(int type, const struct source *source, int64_t row, const float *importance,
                     uint8_t *out, quantize_chunk ggml) {
    const int64_t columns = result_columns(source);
    int is_usable = 1;
    float *x = malloc((size_t)columns * sizeof *x);
    if (!x) return 0;
    for (int64_t column = 0; column < columns; column += 32) {
        float decoded[32];
        memcpy(x + column, weights_of(source, row, column, 32, decoded, &is_usable),
               sizeof decoded);
    }
    ggml(type, x, out, 0, 1, columns, importance);
    free(x);
    return 1;
}

/* Quantize the weights of a source as ggml_quantize_chunk does, to the same bytes.
 *
 * Each weight is decoded, checked, rounded and quantized while its tile is in the first cache. The
 * result's columns must be a multiple of the type's block; importance has one for each, or is NULL.
 * Blocks that the type's kernel leaves are given to ggml.
 *
 * Returns how many these were, or an ERROR.
 */
EXPORT int64_t kernels_quantize(int type, const struct source *source, const float *importance,
                                uint8_t *out, quantize_chunk ggml) {
    const struct kernel *kernel = find_kernel(type);
    if (!kernel) return ERROR_NO_KERNEL;
    const int n = kernel->weights, bytes = kernel->bytes;
    const int64_t blocks_of_row = result_columns(source) / n;
    const int64_t blocks = result_rows(source) * blocks_of_row;
    struct tile tile;
    float decoded[LANES][MAX_BLOCK];
    uint8_t written[LANES * MAX_BLOCK];
    int64_t left_to_ggml = 0;
    int is_usable = 1;
    if (kernel->matrix == IGNORES) importance = 0;
    const int weighs_rows = importance && kernel->matrix == USES_ROWS;
    struct row_means means = {source, -AT_ONCE, {0}};

    tile.has_importance = importance != 0;
    tile.row_mean_square = splat(0);
    for (int64_t first = 0; first < blocks; first += LANES) {
        const int64_t rest = blocks - first;
        const int used = rest < LANES ? (int)rest : LANES;
        const float *weights[LANES], *matrix[LANES];
        for (int lane = 0; lane < used; lane++) {
            const int64_t row = (first + lane) / blocks_of_row;
            const int64_t column = (first + lane) % blocks_of_row * n;
            weights[lane] = weights_of(source, row, column, n, decoded[lane], &is_usable);
            matrix[lane] = importance ? importance + column : 0;
            if (weighs_rows)
                tile.row_mean_square[lane] = mean_square_of(&means, row, &is_usable);
            if (!is_usable) return ERROR_RANGE;
        }
        for (int lane = used; lane < LANES; lane++) {  /* without a block of its own */
            weights[lane] = weights[0];
            matrix[lane] = matrix[0];
        }
        fill(tile.x, weights, n);
        if (importance) fill(tile.importance, matrix, n);
        vi undone = kernel->quantize(&tile, written);
        memcpy(out + first * bytes, written, (size_t)used * bytes);
        if (!any(undone)) continue;
        for (int lane = 0; lane < used; lane++) {
            if (!undone[lane]) continue;
            const int64_t block = first + lane, row = block / blocks_of_row;
            left_to_ggml++;
            if (!weighs_rows)
                ggml(type, weights[lane], out + block * bytes, 0, 1, n, matrix[lane]);
            /* The row's other blocks get the same bytes again. */
            else if (!leave_row(type, source, row, importance, out + row * blocks_of_row * bytes,
                                ggml))
                return ERROR_MEMORY;
        }
    }
    return left_to_ggml;
}
