/* From stored bytes to the float32 weights that ggml's quantizers would be given.
 *
 * The same numbers as decode_rows and round_to_bf16 of convert/quantize.py make: one multiplication
 * by the scale, then one rounding. Loops without branches over a block, which compilers vectorize.
 */
#include "source.h"

#include "lanes.h"

INLINE float as_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}
INLINE uint32_t as_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

/* e4m3fn: 1 sign, 4 exponent (bias 7), 3 mantissa bits; 0x7f is NaN, no code is infinity. Source:
 * "FP8 Formats for Deep Learning" (arXiv:2209.05433), table 1. Below 8 it is denormal: a multiple
 * of 2^-9. Above, the same bits at their place in a float32 have an exponent that is 120 too
 * small. */
INLINE float e4m3_value(uint8_t byte) {
    const uint32_t magnitude = byte & 0x7f;
    const uint32_t normal = (magnitude << 20) + (120u << 23);
    const uint32_t denormal = as_bits((float)(int32_t)magnitude * 0x1p-9f);
    uint32_t bits = magnitude < 8 ? denormal : normal;
    bits = magnitude == 0x7f ? 0x7fc00000u : bits;
    return as_float(bits | (uint32_t)(byte & 0x80) << 24);
}

/* e2m1: 1 sign, 2 exponent, 1 mantissa bit. Source: OCP Microscaling Formats specification 1.0. */
INLINE float e2m1_value(uint8_t nibble) {
    static const float magnitudes[8] = {0, 0.5f, 1, 1.5f, 2, 3, 4, 6};
    const float magnitude = magnitudes[nibble & 7];
    return nibble & 8 ? -magnitude : magnitude;
}

/* e8m0: a power of two; 255 is NaN. */
INLINE float e8m0_value(uint8_t byte) {
    if (byte == 255) return as_float(0x7fc00000u);
    return as_float(byte ? (uint32_t)byte << 23 : 0x00400000u);
}

INLINE float f16_value(uint16_t half) {
    const uint32_t w = (uint32_t)half << 16, two_w = w + w;
    const float normal = as_float((two_w >> 4) + (0xe0u << 23)) * 0x1p-112f;
    const float denormal = as_float((two_w >> 17) | (126u << 23)) - 0.5f;
    return as_float((w & 0x80000000u) | as_bits(two_w < (1u << 27) ? denormal : normal));
}

static float scale_at(const struct source *source, int64_t row, int64_t column) {
    const int64_t at = (source->first_row + row) / source->block_rows * source->scale_columns
        + column / source->block_columns;
    switch (source->scale_type) {
    case F32_SCALES: {
        float scale;
        memcpy(&scale, (const uint8_t *)source->scales + 4 * at, 4);
        return scale;
    }
    case E8M0_SCALES: return e8m0_value(((const uint8_t *)source->scales)[at]);
    default: return 1;
    }
}

/* Decode n neighbours of a stored row, without their scale. */
static void decode(const struct source *source, int64_t row, int64_t column, int n, float *to) {
    const int64_t first = row * source->columns + column;
    const uint8_t *bytes = source->rows;
    switch (source->dtype) {
    case E4M3:
        for (int i = 0; i < n; i++) to[i] = e4m3_value(bytes[first + i]);
        break;
    case E2M1:  /* columns are even, and so is the first */
        for (int i = 0; i < n; i++)
            to[i] = e2m1_value(bytes[(first + i) / 2] >> 4 * ((first + i) % 2) & 15);
        break;
    case BF16:
        for (int i = 0; i < n; i++) {
            uint16_t half;
            memcpy(&half, bytes + 2 * (first + i), 2);
            to[i] = as_float((uint32_t)half << 16);
        }
        break;
    case F16:
        for (int i = 0; i < n; i++) {
            uint16_t half;
            memcpy(&half, bytes + 2 * (first + i), 2);
            to[i] = f16_value(half);
        }
        break;
    default: memcpy(to, bytes + 4 * first, 4 * (size_t)n);
    }
}

/* Decode n neighbours of a stored row, each run with its scale. */
static void decode_scaled(const struct source *source, int64_t row, int64_t column, int n,
                          float *to) {
    decode(source, row, column, n, to);
    if (source->scale_type == NO_SCALES) return;
    for (int i = 0; i < n;) {
        const int64_t rest = source->block_columns - (column + i) % source->block_columns;
        const int run = rest < n - i ? (int)rest : n - i;
        const float scale = scale_at(source, row, column + i);
        for (int k = 0; k < run; k++) to[i + k] *= scale;
        i += run;
    }
}

/* To the nearest bf16 number, ties to even. Only for finite numbers. */
static void round_to_bf16(float *x, int n) {
    for (int i = 0; i < n; i++) {
        uint32_t bits = as_bits(x[i]);
        x[i] = as_float((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000u);
    }
}

/* To what a conversion to Q8_0 and back leaves. Source: quantize_row_q8_0_ref. */
static void round_to_q8_0(float *x, int n) {
    for (int first = 0; first < n; first += 32) {
        float largest = 0;
        for (int i = 0; i < 32; i++) {
            const float magnitude = __builtin_fabsf(x[first + i]);
            largest = largest > magnitude ? largest : magnitude;
        }
        const float d = largest / 127;
        float inverse = d ? 1 / d : 0;
        if (inverse > 3.40282347e38f) inverse = 0;  /* ggml's codes of infinity are 0 too */
        const vi half = half_bits(splat(d));
        const float scale = f16_value((uint16_t)half[0]);
        for (int i = 0; i < 32; i++)
            x[first + i] = (float)(int8_t)__builtin_roundf(x[first + i] * inverse) * scale;
    }
}

/* Whether all magnitudes are at most the limit: as ints they compare like the numbers, NaN last. */
static int is_within(const float *x, int n, float limit) {
    const uint32_t most = as_bits(limit);
    uint32_t found = 0;
    for (int i = 0; i < n; i++) {
        const uint32_t magnitude = as_bits(x[i]) & 0x7fffffff;
        found = found > magnitude ? found : magnitude;
    }
    return found <= most;
}

const float *weights_of(const struct source *source, int64_t row, int64_t column, int n,
                        float *buffer, int *is_usable) {
    if (source->dtype == F32 && source->transform == COPY && source->rounding == EXACT) {
        const float *x = (const float *)source->rows + row * source->columns + column;
        if (source->limit > 0) *is_usable &= is_within(x, n, source->limit);
        return x;
    }
    switch (source->transform) {
    case TRANSPOSE:
        for (int i = 0; i < n; i++) decode_scaled(source, column + i, row, 1, buffer + i);
        break;
    case INTERLEAVE: {  /* rows 0, half, 1, half + 1, … of the head */
        const int64_t stored = row % 2 * (source->row_count / 2) + row / 2;
        decode_scaled(source, stored, column, n, buffer);
        break;
    }
    default: decode_scaled(source, row, column, n, buffer);
    }
    if (source->limit > 0) *is_usable &= is_within(buffer, n, source->limit);
    if (!*is_usable) return buffer;
    if (source->rounding == TO_BF16) round_to_bf16(buffer, n);
    if (source->rounding == TO_Q8_0) round_to_q8_0(buffer, n);
    return buffer;
}
