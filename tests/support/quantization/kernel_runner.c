/* Quantize what is read from stdin, by the kernels that are linked to this program, to stdout.
 *
 * So kernels can be tried that the tests' own process cannot load: those of another processor, and
 * those with sanitizers. See tests/convert/test_kernel_builds.py.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "source.h"

int kernels_set_grid(int type, const uint8_t *levels, int points);
int64_t kernels_quantize(int type, const struct source *source, const float *importance,
                         uint8_t *out,
                         size_t (*ggml)(int, const float *, void *, int64_t, int64_t, int64_t,
                                        const float *));

static uint8_t *out;
static int64_t left[1 << 16][2]; /* weights that are left to ggml: the first byte, their number */
static int64_t left_count;

static size_t note_left(int type, const float *x, void *to, int64_t start, int64_t rows,
                        int64_t columns, const float *importance) {
    (void)type, (void)x, (void)start, (void)importance;
    if (left_count == sizeof left / sizeof *left) abort();
    left[left_count][0] = (uint8_t *)to - out;
    left[left_count][1] = rows * columns;
    left_count++;
    return 0;
}

static void *read_array(size_t size, size_t count) {
    void *array = malloc(size * count + 1);
    if (!array || fread(array, size, count, stdin) != count) exit(2);
    return array;
}

int main(void) {
    enum { TYPE, ROWS, COLUMNS, BYTES, HAS_MATRIX, POINTS, SIZE, HEADER };
    int64_t header[HEADER];
    while (fread(header, sizeof *header, HEADER, stdin) == HEADER) {
        const int type = (int)header[TYPE], points = (int)header[POINTS];
        uint8_t *levels = read_array(1, points * header[SIZE]);
        float *x = read_array(sizeof *x, header[ROWS] * header[COLUMNS]);
        float *matrix = header[HAS_MATRIX] ? read_array(sizeof *matrix, header[COLUMNS]) : NULL;
        out = malloc(header[BYTES]);
        left_count = 0;
        if (!out || (points && kernels_set_grid(type, levels, points) != 1)) exit(3);
        const struct source source = {
            .rows = x, .row_count = header[ROWS], .columns = header[COLUMNS], .dtype = F32};
        if (kernels_quantize(type, &source, matrix, out, note_left) < 0) exit(4);
        fwrite(&left_count, sizeof left_count, 1, stdout);
        fwrite(left, sizeof *left, left_count, stdout);
        fwrite(out, 1, header[BYTES], stdout);
        free(out);
        free(matrix);
        free(x);
        free(levels);
    }
    return 0;
}
