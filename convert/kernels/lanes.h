/* Vectors of the processor's own width, one block of weights in each lane.
 *
 * Every quantizer of ggml is a chain of scalar float operations whose order decides the result, so
 * a compiler may not vectorize it. But blocks do not depend on each other: with one block in each
 * lane, an ordinary vector operation is ggml's scalar operation for LANES blocks at once, and
 * every lane rounds as ggml does. Branches become masks: both sides are computed, vselect takes
 * one.
 *
 * Rules for code that uses these (each of them costs identity when broken):
 * - Sums run in ggml's order, and products associate as ggml writes them: w*l*x is (w*l)*x.
 * - Built with -ffp-contract=off and without -ffast-math; no reciprocal approximations.
 * - A comparison with a NaN is false, as in C.
 */
#ifndef LANES_H
#define LANES_H

#include <stdint.h>
#include <stddef.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
#define LANES 16
#elif defined(__AVX__)
#include <immintrin.h>
#define LANES 8
#elif defined(__SSE2__)
#include <emmintrin.h>
#define LANES 4
#else
#if defined(__ARM_NEON)
#include <arm_neon.h>
#endif
#define LANES 4
#endif

typedef float vf __attribute__((vector_size(4 * LANES)));    /* one float a lane */
typedef int32_t vi __attribute__((vector_size(4 * LANES)));  /* one int a lane; as a mask 0 or -1 */
typedef uint32_t vu __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))
INLINE vf splat(float value) { return value - (vf){0}; }  /* GCC broadcasts the scalar */
INLINE vi isplat(int32_t value) { return value - (vi){0}; }

/* mask ? a : b */
INLINE vf vselect(vi mask, vf a, vf b) { return (vf)(((vi)a & mask) | ((vi)b & ~mask)); }
INLINE vi iselect(vi mask, vi a, vi b) { return (a & mask) | (b & ~mask); }

/* a < b ? a : b, and a > b ? a : b: with a NaN or with equal operands the second */
INLINE vf vmin(vf a, vf b) {
#if defined(__AVX512F__)
    return (vf)_mm512_min_ps((__m512)a, (__m512)b);
#elif defined(__AVX__)
    return (vf)_mm256_min_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (vf)_mm_min_ps((__m128)a, (__m128)b);
#else
    return vselect(a < b, a, b);
#endif
}
INLINE vf vmax(vf a, vf b) {
#if defined(__AVX512F__)
    return (vf)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX__)
    return (vf)_mm256_max_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (vf)_mm_max_ps((__m128)a, (__m128)b);
#else
    return vselect(a > b, a, b);
#endif
}
INLINE vf vsqrt(vf a) {
#if defined(__AVX512F__)
    return (vf)_mm512_sqrt_ps((__m512)a);
#elif defined(__AVX__)
    return (vf)_mm256_sqrt_ps((__m256)a);
#elif defined(__SSE2__)
    return (vf)_mm_sqrt_ps((__m128)a);
#elif defined(__aarch64__)
    return (vf)vsqrtq_f32((float32x4_t)a);
#else
    for (int i = 0; i < LANES; i++) a[i] = __builtin_sqrtf(a[i]);
    return a;
#endif
}
INLINE vf vabs(vf a) { return (vf)((vi)a & 0x7fffffff); }
INLINE vi imin(vi a, vi b) { return iselect(a < b, a, b); }
INLINE vi imax(vi a, vi b) { return iselect(a > b, a, b); }
INLINE vf to_float(vi a) { return __builtin_convertvector(a, vf); }
INLINE vi to_int(vf a) { return __builtin_convertvector(a, vi); }  /* for whole numbers only */

/* A vector is made of quads of 4 lanes; within each, the first two of a and b alternate, or the
 * last two. */
typedef float quad __attribute__((vector_size(16)));

INLINE vf interleave_low(vf a, vf b) {
#if defined(__AVX512F__)
    return (vf)_mm512_unpacklo_ps((__m512)a, (__m512)b);
#elif defined(__AVX__)
    return (vf)_mm256_unpacklo_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (vf)_mm_unpacklo_ps((__m128)a, (__m128)b);
#elif defined(__aarch64__)
    return (vf)vzip1q_f32((float32x4_t)a, (float32x4_t)b);
#else
    return (vf){a[0], b[0], a[1], b[1]};
#endif
}
INLINE vf interleave_high(vf a, vf b) {
#if defined(__AVX512F__)
    return (vf)_mm512_unpackhi_ps((__m512)a, (__m512)b);
#elif defined(__AVX__)
    return (vf)_mm256_unpackhi_ps((__m256)a, (__m256)b);
#elif defined(__SSE2__)
    return (vf)_mm_unpackhi_ps((__m128)a, (__m128)b);
#elif defined(__aarch64__)
    return (vf)vzip2q_f32((float32x4_t)a, (float32x4_t)b);
#else
    return (vf){a[2], b[2], a[3], b[3]};
#endif
}

/* Within each quad, v[i][j] becomes v[j][i]. */
INLINE void transpose_quads(vf v[4]) {
    vf even_low = interleave_low(v[0], v[2]), even_high = interleave_high(v[0], v[2]);
    vf odd_low = interleave_low(v[1], v[3]), odd_high = interleave_high(v[1], v[3]);
    v[0] = interleave_low(even_low, odd_low);
    v[1] = interleave_high(even_low, odd_low);
    v[2] = interleave_low(even_high, odd_high);
    v[3] = interleave_high(even_high, odd_high);
}

INLINE quad load_quad(const void *from) {
    quad q;
    memcpy(&q, from, sizeof q);
    return q;
}

/* A vector of the quads at from[0] + offset, from[4] + offset, … */
INLINE vf join_quads(const float *const *from, int offset) {
#if defined(__AVX512F__)
    __m512 v = _mm512_castps128_ps512((__m128)load_quad(from[0] + offset));
    v = _mm512_insertf32x4(v, (__m128)load_quad(from[4] + offset), 1);
    v = _mm512_insertf32x4(v, (__m128)load_quad(from[8] + offset), 2);
    return (vf)_mm512_insertf32x4(v, (__m128)load_quad(from[12] + offset), 3);
#elif defined(__AVX__)
    __m256 v = _mm256_castps128_ps256((__m128)load_quad(from[0] + offset));
    return (vf)_mm256_insertf128_ps(v, (__m128)load_quad(from[4] + offset), 1);
#else
    return (vf)load_quad(from[0] + offset);
#endif
}

/* Store quad q of v at to + q * stride. */
INLINE void split_quads(vf v, uint8_t *to, long stride) {
#if defined(__AVX512F__)
    _mm_storeu_ps((float *)to, _mm512_castps512_ps128((__m512)v));
    _mm_storeu_ps((float *)(to + stride), _mm512_extractf32x4_ps((__m512)v, 1));
    _mm_storeu_ps((float *)(to + 2 * stride), _mm512_extractf32x4_ps((__m512)v, 2));
    _mm_storeu_ps((float *)(to + 3 * stride), _mm512_extractf32x4_ps((__m512)v, 3));
#elif defined(__AVX__)
    _mm_storeu_ps((float *)to, _mm256_castps256_ps128((__m256)v));
    _mm_storeu_ps((float *)(to + stride), _mm256_extractf128_ps((__m256)v, 1));
#else
    (void)stride;
    memcpy(to, &v, sizeof v);
#endif
}

INLINE int any(vi mask) {
#if defined(__AVX512F__)
    return _mm512_test_epi32_mask((__m512i)mask, (__m512i)mask) != 0;
#elif defined(__AVX__)
    return _mm256_movemask_ps((__m256)mask) != 0;
#elif defined(__SSE2__)
    return _mm_movemask_ps((__m128)mask) != 0;
#else
    int32_t found = 0;
    for (int i = 0; i < LANES; i++) found |= mask[i];
    return found != 0;
#endif
}

/* ggml's nearest_int: adding 1.5 * 2^23 rounds half to even, and leaves the number in the low bits.
 * Outside of (-2^22, 2^22) it gives other numbers, the same as ggml. */
#define ROUNDER 12582912.0f
#define MAX_ROUNDED 4194303.0f
INLINE vi nearest_int(vf v) { return ((vi)(v + ROUNDER) & 0x007fffff) - 0x00400000; }

/* The same number as a float, limited to [low, high]. Only for |v| <= MAX_ROUNDED: see
 * is_roundable. Limiting before the subtraction takes one operation less than rounding to int. */
INLINE vf nearest_limited(vf v, float low, float high) {
    return vmax(vmin(v + ROUNDER, splat(ROUNDER + high)), splat(ROUNDER + low)) - ROUNDER;
}
INLINE vi is_roundable(vf v) { return vabs(v) <= MAX_ROUNDED; }  /* not with a NaN */
INLINE vi is_finite(vf v) { return vabs(v) <= 3.40282347e38f; }

/* ggml_compute_fp32_to_fp16, operation by operation: to nearest even, denormals included. */
INLINE vi half_bits(vf f) {
    vf base = (vabs(f) * 0x1.0p+112f) * 0x1.0p-110f;
    vu w = (vu)f;
    vu shl1_w = w + w;
    vu bias = shl1_w & 0xff000000u;
    bias = (vu)iselect((vi)(bias < 0x71000000u), isplat(0x71000000), (vi)bias);
    base = (vf)((bias >> 1) + 0x07800000u) + base;
    vu bits = (vu)base;
    vu nonsign = ((bits >> 13) & 0x00007c00u) + (bits & 0x00000fffu);
    vi is_nan = (vi)(shl1_w > 0xff000000u);
    return (vi)((w & 0x80000000u) >> 16) | iselect(is_nan, isplat(0x7e00), (vi)nonsign);
}

/* ggml_compute_fp16_to_fp32: exact. */
INLINE vf half_value(vi half) {
    vu w = (vu)half << 16;
    vu sign = w & 0x80000000u;
    vu two_w = w + w;
    vf normalized = (vf)((two_w >> 4) + (0xe0u << 23)) * 0x1.0p-112f;
    vf denormalized = (vf)((two_w >> 17) | (126u << 23)) - 0.5f;
    vi is_denormal = (vi)(two_w < (1u << 27));
    return (vf)(sign | (vu)vselect(is_denormal, denormalized, normalized));
}

#endif
