/* The entry points that Python calls, and the table of all quantizers.
 *
 * This and the other files are compiled once for each level of the processor (see setup.py), into a
 * shared object each. The compiler's own target_clones is no way to do it: it leaves the vector
 * helpers compiled for the baseline, and not inlined.
 */
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
    const float *x;
    int64_t rows, columns;
    int64_t first;  /* -AT_ONCE before any were computed */
    float means[AT_ONCE];
};

/* Rows must be asked for in their order. Each sum runs in ggml's order; those of several rows do
 * not wait for each other. */
static float mean_square_of(struct row_means *known, int64_t row) {
    if (row >= known->first + AT_ONCE) {
        const float *rows[AT_ONCE];
        float sums[AT_ONCE] = {0};
        for (int i = 0; i < AT_ONCE; i++) {
            const int64_t r = row + i < known->rows ? row + i : row;
            rows[i] = known->x + r * known->columns;
        }
        for (int64_t j = 0; j < known->columns; j++)
            for (int i = 0; i < AT_ONCE; i++) sums[i] += rows[i][j] * rows[i][j];
        for (int i = 0; i < AT_ONCE; i++) known->means[i] = sums[i] / known->columns;
        known->first = row;
    }
    return known->means[row - known->first];
}

/* Quantize float32 weights [rows, columns] as ggml_quantize_chunk does, to the same bytes.
 *
 * columns must be a multiple of the type's block. importance is [columns], or NULL. Blocks that
 * the type's kernel leaves are given to ggml. Returns how many these were; -1 for a type without
 * kernel.
 */
EXPORT int64_t kernels_quantize(int type, const float *x, const float *importance, int64_t rows,
                                int64_t columns, uint8_t *out, quantize_chunk ggml) {
    const struct kernel *kernel = find_kernel(type);
    if (!kernel) return -1;
    const int n = kernel->weights, bytes = kernel->bytes;
    const int64_t blocks = rows * columns / n, blocks_of_row = columns / n;
    struct tile tile;
    uint8_t written[LANES * MAX_BLOCK];
    int64_t left_to_ggml = 0;
    if (kernel->matrix == IGNORES) importance = 0;
    const int weighs_rows = importance && kernel->matrix == USES_ROWS;
    struct row_means means = {x, rows, columns, -AT_ONCE, {0}};

    tile.has_importance = importance != 0;
    for (int64_t first = 0; first < blocks; first += LANES) {
        const int64_t rest = blocks - first;
        const int used = rest < LANES ? (int)rest : LANES;
        const float *weights[LANES], *matrix[LANES];
        for (int lane = 0; lane < LANES; lane++) {
            /* lanes without a block of their own repeat the first */
            const int64_t block = first + (lane < used ? lane : 0);
            weights[lane] = x + block * n;
            matrix[lane] = importance ? importance + block % blocks_of_row * n : 0;
            if (weighs_rows)
                tile.row_mean_square[lane] =
                    lane < used ? mean_square_of(&means, block / blocks_of_row) : 0;
        }
        fill(tile.x, weights, n);
        if (importance) fill(tile.importance, matrix, n);
        vi undone = kernel->quantize(&tile, written);
        memcpy(out + first * bytes, written, (size_t)used * bytes);
        if (!any(undone)) continue;
        for (int lane = 0; lane < used; lane++)
            if (undone[lane]) {
                const int64_t block = first + lane, row = block / blocks_of_row;
                if (weighs_rows)  /* the whole row: its other blocks get the same bytes again */
                    ggml(type, x + row * columns, out + row * blocks_of_row * bytes, 0, 1, columns,
                         importance);
                else
                    ggml(type, weights[lane], out + block * bytes, 0, 1, n, matrix[lane]);
                left_to_ggml++;
            }
    }
    return left_to_ggml;
}
