/* Products of a few rows with a bfloat16 matrix, at the speed that memory can be read.

   Two neighbouring bfloat16 numbers are read as one 32-bit word: its high half, and its low half shifted up, are each a float32. So the
   input is split once into its even and odd columns, and no word of the matrix is shuffled. Each core asks for the matrix AHEAD bytes
   before it needs it: the processor's own prefetcher stops at every 4096-byte page, and a row is often shorter than that.
   measured 2026-11: bench/RESULTS.d/speed.md, 25 GB/s of a read limit of 29, where oneDNN reads 11 (plain layout) or 15 (packed). */

#include <stdlib.h>

#include "vectors.h"

#define AHEAD 4096

/* y[b, o] = bias[o] + sum over i of weight[o, i] · x[b, i], summed in float32.

   x (batch, columns), weight (rows, columns), bias (rows) or NULL, y (batch, rows): contiguous bfloat16. columns is a multiple of 32.
   Returns 0, or 1 when there is no memory for the widened input. */
int linear_bf16(const uint32_t *x, const uint32_t *weight, const uint16_t *bias, uint16_t *y, long batch, long columns, long rows,
                int threads) {
  const long vectors = columns / (2 * LANES), pairs = columns / 2;
  floats *even = aligned_alloc(VECTOR_BYTES, 2 * batch * vectors * VECTOR_BYTES), *odd = even + batch * vectors;
  if (even == NULL) return 1;
  for (long v = 0; v < batch * vectors; v++) {
    words pair = load_words(x + v * LANES);
    even[v] = (floats)(pair << 16);
    odd[v] = (floats)(pair & 0xffff0000u);
  }
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long o = 0; o < rows; o++) {
    const uint32_t *row = weight + o * pairs;
    for (long b = 0; b < batch; b++) {
      const floats *x_even = even + b * vectors, *x_odd = odd + b * vectors;
      floats sum_even = {0}, sum_odd = {0};
      for (long v = 0; v < vectors; v++) {
        words pair = load_words(row + v * LANES);
        __builtin_prefetch((const char *)(row + v * LANES) + AHEAD);
        sum_even += (floats)(pair << 16) * x_even[v];
        sum_odd += (floats)(pair & 0xffff0000u) * x_odd[v];
      }
      float sum = add_lanes(sum_even + sum_odd);
      y[b * rows + o] = to_bf16(bias == NULL ? sum : sum + from_bf16(bias[o]));
    }
  }
  free(even);
  return 0;
}
