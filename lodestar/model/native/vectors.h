/* Vectors of 16 numbers, in the compiler's own notation: it makes AVX-512, two AVX2 or four NEON registers of each. */

#pragma once

#include <stdint.h>
#include <string.h>

#ifdef __x86_64__
#include <immintrin.h>
#endif

#define LANES 16
#define VECTOR_BYTES (4 * LANES)
#define UNROLL _Pragma("GCC unroll 16")

typedef float floats __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t ints __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t words __attribute__((vector_size(VECTOR_BYTES)));

static inline floats load(const float *from) {
  floats loaded;
  memcpy(&loaded, from, sizeof loaded);
  return loaded;
}

static inline words load_words(const void *from) {
  words loaded;
  memcpy(&loaded, from, sizeof loaded);
  return loaded;
}

static inline ints load_ints(const void *from) {
  ints loaded;
  memcpy(&loaded, from, sizeof loaded);
  return loaded;
}

/* Each lane's two 16-bit products, added to it. */
#ifdef __AVX512VNNI__
static inline ints add_products(ints sums, ints a, ints b) {
  return (ints)_mm512_dpwssd_epi32((__m512i)sums, (__m512i)a, (__m512i)b);
}
#elif defined(__AVX2__)
static inline ints add_products(ints sums, ints a, ints b) {
  __m256i halves_a[2], halves_b[2], products[2];
  memcpy(halves_a, &a, sizeof a);
  memcpy(halves_b, &b, sizeof b);
  for (int half = 0; half < 2; half++) products[half] = _mm256_madd_epi16(halves_a[half], halves_b[half]);
  return sums + load_ints(products);
}
#else /* not inlined: the compiler takes minutes for its many copies */
static __attribute__((noinline, unused)) ints add_products(ints sums, ints a, ints b) {
  return sums + (a << 16 >> 16) * (b << 16 >> 16) + (a >> 16) * (b >> 16);
}
#endif

/* x[which] in each lane. */
#ifdef __AVX512F__
static inline floats pick(const float *x, ints which) { return (floats)_mm512_permutexvar_ps((__m512i)which, (__m512)load(x)); }
#else
static __attribute__((noinline, unused)) floats pick(const float *x, ints which) {
  floats picked;
  for (int lane = 0; lane < LANES; lane++) picked[lane] = x[which[lane]];
  return picked;
}
#endif

/* The same number, which the compiler must have in a register: it would otherwise read it from memory for each use. */
#ifdef __AVX512F__
static inline floats held(floats x) {
  __asm__("" : "+v"(x));
  return x;
}
#else
static inline floats held(floats x) { return x; }
#endif

/* The same number in every lane. */
static inline floats everywhere_float(float x) { return held((floats){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}); }
static inline ints everywhere(int32_t x) { return (ints)held((floats)(ints){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}); }

/* 32 codes of 8 bits, as numbers of 16, two a lane. */
static inline ints widen_codes(const int8_t *from) {
#ifdef __AVX512VNNI__ /* the compiler makes two halves of the general form */
  return (ints)_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)from));
#else
  typedef int8_t bytes __attribute__((vector_size(VECTOR_BYTES / 2)));
  typedef int16_t shorts __attribute__((vector_size(VECTOR_BYTES)));
  bytes loaded;
  memcpy(&loaded, from, sizeof loaded);
  return (ints)__builtin_convertvector(loaded, shorts);
#endif
}

static inline void store(float *to, floats value) { memcpy(to, &value, sizeof value); }

static inline float add_lanes(floats lanes) {
  typedef float eight __attribute__((vector_size(32)));
  typedef float four __attribute__((vector_size(16)));
  const eight halves = __builtin_shufflevector(lanes, lanes, 0, 1, 2, 3, 4, 5, 6, 7) + __builtin_shufflevector(lanes, lanes, 8, 9, 10, 11, 12, 13, 14, 15);
  const four quarters = __builtin_shufflevector(halves, halves, 0, 1, 2, 3) + __builtin_shufflevector(halves, halves, 4, 5, 6, 7);
  return (quarters[0] + quarters[2]) + (quarters[1] + quarters[3]);
}

/* One step of adding up the lanes of several vectors: what stands in a goes to the lower lanes of the answer, b's to the upper ones. */
static inline floats add_eight(floats a, floats b) { /* sums of 16 lanes to sums of 8 */
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23) +
         __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
}

static inline floats add_four(floats a, floats b) {
  return __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27) +
         __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
}

static inline floats add_two(floats a, floats b) {
  return __builtin_shufflevector(a, b, 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29) +
         __builtin_shufflevector(a, b, 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31);
}

static inline floats add_one(floats a, floats b) {
  return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30) +
         __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

/* The sum of each of 2, 4, 8 or 16 vectors' lanes: in lane i that of vector i. `count` is a literal. */
static inline __attribute__((always_inline)) floats sum_each(floats v[LANES], const int count) {
  UNROLL for (int i = 0; i < count / 2; i++) v[i] = add_eight(v[2 * i], v[2 * i + 1]);
  if (count == 2) v[1] = v[0];
  for (int i = 0; i < (count < 4 ? 1 : count / 4); i++) v[i] = add_four(v[2 * i], v[2 * i + 1]);
  if (count <= 4) v[1] = v[0];
  for (int i = 0; i < (count < 8 ? 1 : count / 8); i++) v[i] = add_two(v[2 * i], v[2 * i + 1]);
  return add_one(v[0], count <= 8 ? v[0] : v[1]);
}

static inline float from_bf16(uint16_t half) {
  uint32_t bits = (uint32_t)half << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* LANES bfloat16 numbers as float32. */
static inline floats load_bf16(const uint16_t *from) {
  typedef uint16_t halves __attribute__((vector_size(VECTOR_BYTES / 2)));
  halves loaded;
  memcpy(&loaded, from, sizeof loaded);
  return (floats)(__builtin_convertvector(loaded, words) << 16);
}

/* To the nearest, ties to even; a NaN stays one. */
static inline uint16_t to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  uint16_t rounded = (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  return value != value ? 0x7fc0 : rounded;
}

static inline float number(const void *from, long at, int bf16) {
  return bf16 ? from_bf16(((const uint16_t *)from)[at]) : ((const float *)from)[at];
}

/* `count` numbers from `at` on, of a float32 or bfloat16 array, as float32; and back. */
static inline void widen(const void *from, long at, long count, int bf16, float *to) {
  if (!bf16) memcpy(to, (const float *)from + at, count * sizeof *to);
  else for (long i = 0; i < count; i++) to[i] = from_bf16(((const uint16_t *)from)[at + i]);
}

static inline void narrow(const float *from, long count, int bf16, void *to, long at) {
  if (!bf16) memcpy((float *)to + at, from, count * sizeof *from);
  else for (long i = 0; i < count; i++) ((uint16_t *)to)[at + i] = to_bf16(from[i]);
}

/* e^x for x ≤ 0, to 3e-7 of it; 0 below -87; a NaN stays one. 2^y = 2^n · 2^f with n whole and f in [-1/2, 1/2], where a polynomial
   (Taylor) serves. */
static inline floats exponential(floats x) {
  const floats y = x * 1.44269504f;
  const ints n = __builtin_convertvector(y - 0.5f, ints);
  const floats f = y - __builtin_convertvector(n, floats);
  floats power = 0.000154035f * f + 0.00133336f;
  power = power * f + 0.00961813f;
  power = power * f + 0.05550411f;
  power = power * f + 0.24022651f;
  power = power * f + 0.69314718f;
  power = power * f + 1.0f;
  return (floats)(((ints)power + (n << 23)) & ~(x <= -87.0f));
}

/* 1 / (1 + e^-x). */
static inline floats sigmoid(floats x) {
  const ints negative = x < 0.0f;
  const floats power = exponential((floats)((ints)x | INT32_MIN)); /* e^-|x| */
  const floats one = (floats){0} + 1.0f;
  return (floats)(((ints)power & negative) | ((ints)one & ~negative)) / (one + power);
}

/* Where a (batch, heads, length, width) tensor keeps its numbers: strides in numbers, the last being 1. */
typedef struct {
  void *data;
  long batch, head, token;
} Tensor;
