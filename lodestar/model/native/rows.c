/* What stands between the matrix products of a training step, each in one pass over memory: float32 inside, whatever is stored.
   measured 2026-11: bench/RESULTS.d/speed.md; torch composes each of two to ten passes. */

#include <math.h>

#include "vectors.h"

#define CHUNK 1024 /* numbers treated together where there are no rows */

/* y = x · r · weight with r = 1/√(mean(x²) + epsilon), which is kept: x, y (rows, width), weight (width), inverses (rows). */
void rms_norm_forward(const void *x, const float *weight, float epsilon, void *y, float *inverses, long rows, long width, int bf16,
                      int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long row = 0; row < rows; row++) {
    float numbers[width];
    floats squares = {0};
    widen(x, row * width, width, bf16, numbers);
    for (long i = 0; i < width; i += LANES) squares += load(numbers + i) * load(numbers + i);
    const float inverse = 1 / sqrtf(add_lanes(squares) / width + epsilon);
    for (long i = 0; i < width; i++) numbers[i] = numbers[i] * inverse * weight[i];
    inverses[row] = inverse;
    narrow(numbers, width, bf16, y, row * width);
  }
}

/* dx = r·w·g − x·r³/width·Σ(w·g·x); and dw = Σ over rows of g·x·r, one sum for each thread: d_weights (threads, width), zeros at first. */
void rms_norm_backward(const void *x, const float *weight, const float *inverses, const void *g, void *dx, float *d_weights, long rows,
                       long width, int bf16, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long part = 0; part < threads; part++) {
    float numbers[width], gradients[width], *d_weight = d_weights + part * width;
    for (long row = rows * part / threads; row < rows * (part + 1) / threads; row++) {
      const float inverse = inverses[row];
      floats products = {0};
      widen(x, row * width, width, bf16, numbers);
      widen(g, row * width, width, bf16, gradients);
      for (long i = 0; i < width; i += LANES) {
        const floats product = load(numbers + i) * load(gradients + i);
        store(d_weight + i, load(d_weight + i) + product * inverse);
        products += product * load(weight + i);
      }
      const float along = add_lanes(products) * inverse * inverse * inverse / width;
      for (long i = 0; i < width; i++) gradients[i] = gradients[i] * weight[i] * inverse - numbers[i] * along;
      narrow(gradients, width, bf16, dx, row * width);
    }
  }
}

/* Each pair (x_i, x_{i + width/2}) of a head, turned by its token's angle, or back: cos, sin (length, width/2) from `table_batch` · b on. */
void rotate(const Tensor *x, const Tensor *y, const float *cos, const float *sin, long table_batch, int back, long batch, long heads,
            long length, long width, int bf16, int threads) {
  const long half = width / 2;
  const float sign = back ? -1 : 1;
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long token = 0; token < batch * length; token++) {
    const long b = token / length, t = token % length;
    const float *c = cos + b * table_batch + t * half, *s = sin + b * table_batch + t * half;
    float from[width], to[width];
    for (long h = 0; h < heads; h++) {
      widen(x->data, b * x->batch + h * x->head + t * x->token, width, bf16, from);
      for (long i = 0; i < half; i++) {
        to[i] = from[i] * c[i] - sign * from[half + i] * s[i];
        to[half + i] = from[half + i] * c[i] + sign * from[i] * s[i];
      }
      narrow(to, width, bf16, y->data, b * y->batch + h * y->head + t * y->token);
    }
  }
}

/* y = relu(x)², or where `g` is given dx = 2·relu(x)·g. A NaN stays one. */
void relu2(const void *x, const void *g, void *y, long count, int bf16, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long start = 0; start < count; start += CHUNK) {
    const long numbers = count - start < CHUNK ? count - start : CHUNK;
    float positive[CHUNK], gradients[CHUNK];
    widen(x, start, numbers, bf16, positive);
    for (long i = 0; i < numbers; i++) positive[i] = positive[i] < 0 ? 0 : positive[i];
    if (g != NULL) widen(g, start, numbers, bf16, gradients);
    for (long i = 0; i < numbers; i++) positive[i] *= g == NULL ? positive[i] : 2 * gradients[i];
    narrow(positive, numbers, bf16, y, start);
  }
}

/* A bijection of 32 bits that leaves no pattern: xor-shifts and products, with the constants of Wellons's lowbias32. */
static inline uint32_t mixed(uint32_t x) {
  x = (x ^ x >> 16) * 0x7feb352du;
  x = (x ^ x >> 15) * 0x846ca68bu;
  return x ^ x >> 16;
}

/* y = x / (1 − share), and 0 where the seed's bits for the number's place, as a fraction, are below `share`: the gradient is the same of g. */
void dropout(const void *x, uint64_t seed, double share, void *y, long count, int bf16, int threads) {
  const uint32_t below = (uint32_t)(share * 4294967296.0);
  const float scale = (float)(1 / (1 - share));
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long start = 0; start < count; start += CHUNK) {
    const long numbers = count - start < CHUNK ? count - start : CHUNK;
    const uint32_t first = (uint32_t)seed ^ mixed((uint32_t)(start / CHUNK)), second = (uint32_t)(seed >> 32);
    float kept[CHUNK];
    widen(x, start, numbers, bf16, kept);
    for (long i = 0; i < numbers; i++) kept[i] = mixed(mixed((uint32_t)i ^ first) ^ second) < below ? 0 : kept[i] * scale;
    narrow(kept, numbers, bf16, y, start);
  }
}

/* y = silu(gate) · up; count numbers, a multiple of LANES. */
void swiglu_forward(const void *gate, const void *up, void *y, long count, int bf16, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long start = 0; start < count; start += CHUNK) {
    const long numbers = count - start < CHUNK ? count - start : CHUNK;
    float gates[CHUNK], ups[CHUNK];
    widen(gate, start, numbers, bf16, gates);
    widen(up, start, numbers, bf16, ups);
    for (long i = 0; i < numbers; i += LANES) store(ups + i, load(gates + i) * sigmoid(load(gates + i)) * load(ups + i));
    narrow(ups, numbers, bf16, y, start);
  }
}

/* With s = sigmoid(gate): d_up = g·gate·s, d_gate = g·up·s·(1 + gate·(1 − s)). */
void swiglu_backward(const void *gate, const void *up, const void *g, void *d_gate, void *d_up, long count, int bf16, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long start = 0; start < count; start += CHUNK) {
    const long numbers = count - start < CHUNK ? count - start : CHUNK;
    float gates[CHUNK], ups[CHUNK], gradients[CHUNK];
    widen(gate, start, numbers, bf16, gates);
    widen(up, start, numbers, bf16, ups);
    widen(g, start, numbers, bf16, gradients);
    for (long i = 0; i < numbers; i += LANES) {
      const floats x = load(gates + i), s = sigmoid(x), gradient = load(gradients + i);
      store(gates + i, gradient * load(ups + i) * s * (1.0f + x * (1.0f - s)));
      store(ups + i, gradient * x * s);
    }
    narrow(gates, numbers, bf16, d_gate, start);
    narrow(ups, numbers, bf16, d_up, start);
  }
}

/* y = x · sigmoid(u) with u = 2·√(2/π)·(x + 0.044715·x³), which is GELU by tanh; or where `g` is given dx = g·(s + x·s·(1 − s)·u'). */
void gelu_tanh(const void *x, const void *g, void *y, long count, int bf16, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
  for (long start = 0; start < count; start += CHUNK) {
    const long numbers = count - start < CHUNK ? count - start : CHUNK;
    float from[CHUNK], gradients[CHUNK];
    widen(x, start, numbers, bf16, from);
    if (g != NULL) widen(g, start, numbers, bf16, gradients);
    for (long i = 0; i < numbers; i += LANES) {
      const floats at = load(from + i), square = at * at, s = sigmoid(1.59576912f * at * (1.0f + 0.044715f * square));
      if (g == NULL) store(from + i, at * s);
      else store(from + i, load(gradients + i) * s * (1.0f + at * (1.0f - s) * 1.59576912f * (1.0f + 0.134145f * square)));
    }
    narrow(from, numbers, bf16, y, start);
  }
}
