/* The cross-entropy and its gradient, a row of logits at a time: read once from memory, written once. */

#include <math.h>

#include "vectors.h"

/* Each row becomes softmax(row) − one at its target, and losses[row] = −log softmax(row)[target]. */
void softmax_gradient(float *logits, const int64_t *targets, float *losses, long rows, long width, int threads) {
  const long whole = width / LANES * LANES;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long row = 0; row < rows; row++) {
    float *x = logits + row * width, highest = x[0];
    const float chosen = x[targets[row]];
    for (long i = 0; i < width; i++) highest = x[i] > highest ? x[i] : highest;
    /* A NaN is no highest, but makes each sum NaN. */
    floats sums = {0};
    for (long i = 0; i < whole; i += LANES) {
      const floats power = exponential(load(x + i) - highest);
      store(x + i, power);
      sums += power;
    }
    float sum = add_lanes(sums);
    for (long i = whole; i < width; i++) sum += x[i] = expf(x[i] - highest);
    const float share = 1.0f / sum;
    for (long i = 0; i < width; i++) x[i] *= share;
    x[targets[row]] -= 1.0f;
    losses[row] = logf(sum) + highest - chosen;
  }
}
