/* Vectors of the processor's own width, one block of weights in each lane.
 *
 * Every quantizer of ggml is a chain of scalar float operations whose order decides the result, so a
 * compiler may not vectorize it. But blocks do not depend on each other: with one block in each lane,
 * an ordinary vector operation is ggml's scalar operation for LANES blocks at once, and every lane
 * rounds as ggml does. Branches become masks: both sides are computed, vselect takes one.
 *
 * Rules for code that uses these (each of them costs identity when broken):
 *   - Sums run in ggml's order, and products associate as ggml writes them: w*l*x is (w*l)*x.
 *   - Built with -ffp-contract=off and without -ffast-math; no reciprocal approximations.
 *   - A comparison with a NaN is false, as in C.
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

typedef float vf __attribute__((vector_size(4 * LANES)));      /* one float a lane */
typedef int32_t vi __attribute__((vector_size(4 * LANES)));    /* one int a lane; as a mask 0 or -1 */
typedef uint32_t vu __attribute__((vector_size(4 * LANES)));

#define INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define UNROLL(n) _Pragma("unroll")
#else
#define UNROLL(n) _Pragma("GCC unroll 32")
#endif

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

/* The same number as a float, limited to [low, high]. Only for |v| <= MAX_ROUNDED: see is_roundable.
 * Limiting before the subtraction takes one operation less than rounding to int. */
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
