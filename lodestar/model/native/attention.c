/* Causal attention for training: softmax(QKᵀ/√d_k)·V and its gradient, one head at a time, in float32 and inside the core's own cache.

   Dao et al. 2022, https://arxiv.org/abs/2205.14135: the weights are never written to memory; the forward pass keeps the logarithm of each
   query's sum, and the backward pass computes the weights again from it. Keys after a block of queries are skipped.
   measured 2026-11: bench/RESULTS.d/speed.md, forward and backward together 1.8 times as fast as torch's in float32 and 4 times in bfloat16.

   Names: Q, K, V are (length, width); S scores, P weights, O the output, G the output's gradient, dX the gradient of X.
   Lengths are padded to a multiple of BLOCK with zeros: as keys they come after every real query, and as queries nobody reads them. */

#include <math.h>
#include <stdlib.h>

#include "vectors.h"

#define BLOCK 32 /* queries treated together */
#define TILE 8   /* rows of a product computed together; with 2 vectors of columns, the 16 sums stay in registers */

typedef struct {
  long batch, heads, length, width;
  int bf16, threads;
  const uint8_t *allowed; /* (batch or 1, length, length), 0 where a query does not see a key; or NULL */
  long allowed_batch;     /* its first stride: 0 where all rows share it */
} Shape;

/* c = a·b, or c += a·b where `add`: (rows, steps) · (steps, columns); rows a multiple of TILE, columns of 2·LANES.
   a may be transposed: it is read number by number at a[row · a_row + step · a_step]. */
static void multiply(long rows, long columns, long steps, const float *restrict a, long a_row, long a_step, const float *restrict b,
                     long b_step, float *restrict c, long c_row, int add) {
  for (long j = 0; j < columns; j += 2 * LANES)
    for (long i = 0; i < rows; i += TILE) {
      floats left[TILE], right[TILE];
#pragma GCC unroll 8
      for (int r = 0; r < TILE; r++) {
        const float *from = c + (i + r) * c_row + j;
        left[r] = add ? load(from) : (floats){0};
        right[r] = add ? load(from + LANES) : (floats){0};
      }
      for (long k = 0; k < steps; k++) {
        const floats b_left = load(b + k * b_step + j), b_right = load(b + k * b_step + j + LANES);
#pragma GCC unroll 8
        for (int r = 0; r < TILE; r++) {
          const float number = a[(i + r) * a_row + k * a_step];
          left[r] += number * b_left;
          right[r] += number * b_right;
        }
      }
#pragma GCC unroll 8
      for (int r = 0; r < TILE; r++) {
        store(c + (i + r) * c_row + j, left[r]);
        store(c + (i + r) * c_row + j + LANES, right[r]);
      }
    }
}

static float largest(const float *row, long count) {
  floats most = load(row);
  for (long j = LANES; j < count; j += LANES) {
    const floats x = load(row + j);
    const ints larger = x > most;
    most = (floats)(((ints)x & larger) | ((ints)most & ~larger));
  }
  float top = most[0];
  for (int lane = 1; lane < LANES; lane++) top = most[lane] > top ? most[lane] : top;
  return top;
}

static void read_head(const Tensor *tensor, long b, long h, const Shape *shape, float *to) {
  for (long t = 0; t < shape->length; t++)
    widen(tensor->data, b * tensor->batch + h * tensor->head + t * tensor->token, shape->width, shape->bf16, to + t * shape->width);
}

static void write_head(const Tensor *tensor, long b, long h, const Shape *shape, const float *from) {
  for (long t = 0; t < shape->length; t++)
    narrow(from + t * shape->width, shape->width, shape->bf16, tensor->data, b * tensor->batch + h * tensor->head + t * tensor->token);
}

static void transpose(const float *from, long rows, long columns, float *to) {
  for (long i = 0; i < rows; i += LANES)
    for (long j = 0; j < columns; j++)
      for (long r = 0; r < LANES; r++) to[j * rows + i + r] = from[(i + r) * columns + j];
}

static long padded_length(const Shape *shape) { return (shape->length + BLOCK - 1) / BLOCK * BLOCK; }

/* S = Q·Kᵀ/√d_k of the BLOCK queries from `start` with the keys up to the block's end, -inf where the mask hides the key. */
static void scores(const float *Q, const float *K_transposed, long b, long start, const Shape *shape, float *S) {
  const long keys = start + BLOCK, width = shape->width, length = shape->length;
  const float scale = 1 / sqrtf((float)width);
  multiply(BLOCK, keys, width, Q + start * width, width, 1, K_transposed, padded_length(shape), S, keys, 0);
  for (long i = 0; i < BLOCK; i++) {
    const long t = start + i;
    float *row = S + i * keys;
    for (long j = 0; j < keys; j++) row[j] = j <= t ? row[j] * scale : -INFINITY;
    if (shape->allowed == NULL || t >= length) continue;
    const uint8_t *allowed = shape->allowed + b * shape->allowed_batch + t * length;
    for (long j = 0; j <= t; j++) row[j] = allowed[j] ? row[j] : -INFINITY;
  }
}

/* O = P·V, and the logarithm of each query's Σ exp(S), (batch, heads, length). Returns 0, or 1 when there is no memory. */
int attention_forward(const Tensor *q, const Tensor *k, const Tensor *v, const Tensor *o, float *log_sums, const Shape *shape) {
  const long padded = padded_length(shape), width = shape->width, length = shape->length, size = padded * width;
  int failed = 0;
#pragma omp parallel num_threads(shape->threads)
  {
    const size_t numbers = 5 * size + BLOCK * padded;
    float *Q = aligned_alloc(VECTOR_BYTES, numbers * sizeof *Q);
    if (Q == NULL) {
#pragma omp atomic write
      failed = 1;
    } else {
      float *K = Q + size, *V = K + size, *K_transposed = V + size, *O = K_transposed + size, *S = O + size;
      memset(Q, 0, numbers * sizeof *Q);
#pragma omp for schedule(dynamic) nowait
      for (long n = 0; n < shape->batch * shape->heads; n++) {
        const long b = n / shape->heads, h = n % shape->heads;
        read_head(q, b, h, shape, Q);
        read_head(k, b, h, shape, K);
        read_head(v, b, h, shape, V);
        transpose(K, padded, width, K_transposed);
        for (long start = 0; start < length; start += BLOCK) {
          const long keys = start + BLOCK;
          float inverse[BLOCK];
          scores(Q, K_transposed, b, start, shape, S);
          for (long i = 0; i < BLOCK; i++) {
            float *row = S + i * keys;
            const float top = largest(row, keys);
            floats sums = {0};
            for (long j = 0; j < keys; j += LANES) {
              const floats weights = exponential(load(row + j) - top);
              store(row + j, weights);
              sums += weights;
            }
            const float sum = add_lanes(sums);
            inverse[i] = 1 / sum;
            if (start + i < length) log_sums[n * length + start + i] = top + logf(sum);
          }
          multiply(BLOCK, width, keys, S, keys, 1, V, width, O + start * width, width, 0);
          for (long i = 0; i < BLOCK * width; i++) O[start * width + i] *= inverse[i / width];
        }
        write_head(o, b, h, shape, O);
      }
      free(Q);
    }
  }
  return failed;
}

/* dQ, dK and dV from G, O and the logarithms that the forward pass kept. Returns 0, or 1 when there is no memory. */
int attention_backward(const Tensor *q, const Tensor *k, const Tensor *v, const Tensor *o, const Tensor *g, const float *log_sums,
                       const Tensor *dq, const Tensor *dk, const Tensor *dv, const Shape *shape) {
  const long padded = padded_length(shape), width = shape->width, length = shape->length, size = padded * width;
  const float scale = 1 / sqrtf((float)width);
  int failed = 0;
#pragma omp parallel num_threads(shape->threads)
  {
    const size_t numbers = 10 * size + 2 * BLOCK * padded;
    float *Q = aligned_alloc(VECTOR_BYTES, numbers * sizeof *Q);
    if (Q == NULL) {
#pragma omp atomic write
      failed = 1;
    } else {
      float *K = Q + size, *V = K + size, *K_transposed = V + size, *V_transposed = K_transposed + size, *O = V_transposed + size;
      float *G = O + size, *dQ = G + size, *dK = dQ + size, *dV = dK + size, *P = dV + size, *dS = P + BLOCK * padded;
      memset(Q, 0, numbers * sizeof *Q);
#pragma omp for schedule(dynamic) nowait
      for (long n = 0; n < shape->batch * shape->heads; n++) {
        const long b = n / shape->heads, h = n % shape->heads;
        read_head(q, b, h, shape, Q);
        read_head(k, b, h, shape, K);
        read_head(v, b, h, shape, V);
        read_head(o, b, h, shape, O);
        read_head(g, b, h, shape, G);
        transpose(K, padded, width, K_transposed);
        transpose(V, padded, width, V_transposed);
        memset(dK, 0, 2 * size * sizeof *dK); /* and dV behind it */
        for (long start = 0; start < length; start += BLOCK) {
          const long keys = start + BLOCK;
          scores(Q, K_transposed, b, start, shape, P);
          multiply(BLOCK, keys, width, G + start * width, width, 1, V_transposed, padded, dS, keys, 0); /* dP, so far */
          for (long i = 0; i < BLOCK; i++) {
            const long t = start + i;
            const float log_sum = t < length ? log_sums[n * length + t] : INFINITY;
            floats products = {0};
            for (long d = 0; d < width; d += LANES) products += load(O + t * width + d) * load(G + t * width + d);
            const float along = add_lanes(products); /* Σ P·dP of the query: its output times the output's gradient */
            for (long j = i * keys; j < (i + 1) * keys; j += LANES) {
              const floats weights = exponential(load(P + j) - log_sum);
              store(P + j, weights);
              store(dS + j, weights * (load(dS + j) - along) * scale);
            }
          }
          multiply(BLOCK, width, keys, dS, keys, 1, K, width, dQ + start * width, width, 0);
          multiply(keys, width, BLOCK, P, 1, keys, G + start * width, width, dV, width, 1);
          multiply(keys, width, BLOCK, dS, 1, keys, Q + start * width, width, dK, width, 1);
        }
        write_head(dq, b, h, shape, dQ);
        write_head(dk, b, h, shape, dK);
        write_head(dv, b, h, shape, dV);
      }
      free(Q);
    }
  }
  return failed;
}
