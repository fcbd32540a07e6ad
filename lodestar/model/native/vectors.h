/* Vectors of 16 numbers, in the compiler's own notation: it makes AVX-512, two AVX2 or four NEON registers of each. */

#include <stdint.h>
#include <string.h>

#define LANES 16
#define VECTOR_BYTES (4 * LANES)

typedef float floats __attribute__((vector_size(VECTOR_BYTES)));
typedef int32_t ints __attribute__((vector_size(VECTOR_BYTES)));
typedef uint32_t words __attribute__((vector_size(VECTOR_BYTES)));

static inline floats load(const float *from) {
  floats loaded;
  memcpy(&loaded, from, sizeof loaded);
  return loaded;
}

static inline words load_words(const uint32_t *from) {
  words loaded;
  memcpy(&loaded, from, sizeof loaded);
  return loaded;
}

static inline void store(float *to, floats value) { memcpy(to, &value, sizeof value); }

static inline float add_lanes(floats lanes) {
  float sums[LANES];
  memcpy(sums, &lanes, sizeof sums);
  for (int half = LANES / 2; half > 0; half /= 2)
    for (int lane = 0; lane < half; lane++) sums[lane] += sums[lane + half];
  return sums[0];
}

static inline float from_bf16(uint16_t half) {
  uint32_t bits = (uint32_t)half << 16;
  float value;
  memcpy(&value, &bits, sizeof value);
  return value;
}

/* To the nearest, ties to even; a NaN stays one. */
static inline uint16_t to_bf16(float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  uint16_t rounded = (uint16_t)((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
  return value != value ? 0x7fc0 : rounded;
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

/* Where a (batch, heads, length, width) tensor keeps its numbers: strides in numbers, the last being 1. */
typedef struct {
  void *data;
  long batch, head, token;
} Tensor;
