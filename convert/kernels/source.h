/* Where a quantizer's weights come from: rows of a checkpoint as they are stored. */
#ifndef SOURCE_H
#define SOURCE_H

#include <stdint.h>

enum dtype { F32, F16, BF16, E4M3, E2M1 };            /* E2M1: two weights a byte */
enum scale_type { NO_SCALES, F32_SCALES, E8M0_SCALES };
enum transform { COPY, TRANSPOSE, INTERLEAVE };
enum rounding { EXACT, TO_BF16, TO_Q8_0 };            /* what FP8 is rounded to on its way */

/* Python fills this in (kernels/__init__.py has the same fields). Numbers of rows and columns count
 * weights of the stored tensor, before the transform. */
struct source {
    const void *rows;           /* those of the unit, one after another */
    const void *scales;         /* of the whole tensor, [.., scale_columns] */
    int64_t first_row;          /* number of the unit's first row in the tensor */
    int64_t row_count, columns;
    int64_t scale_columns;
    int64_t block_rows, block_columns;  /* weights that share a scale */
    float limit;                /* a magnitude above it is an error, as a NaN is; 0: no check */
    int32_t dtype, scale_type, transform, rounding;
};

/* The size of what becomes of the source. */
static inline int64_t result_rows(const struct source *source) {
    return source->transform == TRANSPOSE ? source->columns : source->row_count;
}
static inline int64_t result_columns(const struct source *source) {
    return source->transform == TRANSPOSE ? source->row_count : source->columns;
}

/* Return n weights of a row of the result from `column` on, in `buffer` or where they lie. n and
 * column are multiples of 32. Clears *is_usable where one of them is an error. */
const float *weights_of(const struct source *source, int64_t row, int64_t column, int n,
                        float *buffer, int *is_usable);

#endif
