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
