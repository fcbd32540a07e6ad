/* The likeliest tokens of each row of logits, for beam search. */

#include <math.h>

#include "vectors.h"

#define BLOCK (4 * LANES)

static inline floats larger(floats a, floats b) {
  const ints where = a > b;
  return (floats)(((ints)a & where) | ((ints)b & ~where));
}

static float largest(const float *x, long count) {
  floats most = (floats){0} - INFINITY;
  long i = 0;
  for (; i + LANES <= count; i += LANES) most = larger(load(x + i), most);
  float top = -INFINITY;
  for (int lane = 0; lane < LANES; lane++) top = most[lane] > top ? most[lane] : top;
  for (; i < count; i++) top = x[i] > top ? x[i] : top;
  return top;
}

/* log Σ exp(x), the largest being `top`. */
static float log_sum(const float *x, long count, float top) {
  floats sums = {0};
  long i = 0;
  for (; i + LANES <= count; i += LANES) sums += exponential(load(x + i) - top);
  float last[LANES];
  for (int lane = 0; lane < LANES; lane++) last[lane] = i + lane < count ? x[i + lane] - top : -INFINITY;
  return top + logf(add_lanes(sums + exponential(load(last))));
}

/* Put a number into `values`, which has room for `most`, the largest first; of equals the earlier one stays first. */
static void insert(float value, long id, long most, float *values, int64_t *ids) {
  long at = most - 1;
  if (!(value > values[at])) return;
  for (; at > 0 && value > values[at - 1]; at--) values[at] = values[at - 1], ids[at] = ids[at - 1];
  values[at] = value, ids[at] = id;
}

/* The `most` largest of x. Most blocks hold none of them: their own largest says so. */
static void choose(const float *x, long count, long most, float *values, int64_t *ids) {
  for (long n = 0; n < most; n++) values[n] = -INFINITY, ids[n] = n;
  for (long start = 0; start < count; start += BLOCK) {
    const long stop = start + BLOCK < count ? start + BLOCK : count;
    if (!(largest(x + start, stop - start) > values[most - 1])) continue;
    for (long i = start; i < stop; i++) insert(x[i], i, most, values, ids);
  }
}

/* Of each row of logits (rows, width) the `most` largest: values (rows, most) less the logarithm of Σ exp, and ids.
   banned: (bans) ids that are left out, though not of the sum. A row is changed there meanwhile, and is as before at the end. */
void best(float *logits, const int64_t *banned, float *values, int64_t *ids, long rows, long width, long most, long bans, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long row = 0; row < rows; row++) {
    float *x = logits + row * width, kept[bans + 1];
    const float normalizer = log_sum(x, width, largest(x, width));
    for (long n = 0; n < bans; n++) kept[n] = x[banned[n]], x[banned[n]] = -INFINITY;
    choose(x, width, most, values + row * most, ids + row * most);
    for (long n = 0; n < bans; n++) x[banned[n]] = kept[n];
    for (long n = 0; n < most; n++) values[row * most + n] -= normalizer;
  }
}
