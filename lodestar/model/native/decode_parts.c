/* What stands between the products of a decoder's step: norms, activations, and the attention of one head over the cache. */

#include <math.h>

#include "decode.h"

#define EVERY(i, count) (long i = 0; i < (count); i += LANES)

/* The numbers from `from` on, `there` of them at most: zeros in the lanes behind. */
static inline floats load_some(const float *from, long there) {
  floats loaded = {0};
  if (there >= LANES) return load(from);
  memcpy(&loaded, from, there * sizeof *from);
  return loaded;
}

static inline void store_some(float *to, floats value, long there) { memcpy(to, &value, (there < LANES ? there : LANES) * sizeof *to); }

static float mean_square(const float *x, long width) {
  floats squares = {0};
  for EVERY(i, width) {
    const floats numbers = load_some(x + i, width - i);
    squares += numbers * numbers;
  }
  return add_lanes(squares) / width;
}

void apply_norm(const Norm *norm, const float *x, long width, float *y) {
  float mean = 0;
  if (norm->kind == NO_NORM) {
    memmove(y, x, width * sizeof *x);
    return;
  }
  if (norm->kind == LAYER_NORM) {
    floats sum = {0};
    for EVERY(i, width) sum += load_some(x + i, width - i);
    mean = add_lanes(sum) / width;
    for (long i = 0; i < width; i++) y[i] = x[i] - mean;
    x = y;
  }
  const float inverse = 1 / sqrtf(mean_square(x, width) + norm->epsilon);
  for (long i = 0; i < width; i++) y[i] = x[i] * inverse * number(norm->weight, i, norm->bf16);
  if (norm->bias != NULL)
    for (long i = 0; i < width; i++) y[i] += number(norm->bias, i, norm->bf16);
}

static floats choose(ints where, floats a, floats b) { return (floats)(((ints)a & where) | ((ints)b & ~where)); }

/* Abramowitz and Stegun 1964, equation 7.1.26: to 1.5e-7. */
static floats error_function(floats x) {
  const floats size = choose(x < 0.0f, -x, x), t = 1.0f / (1.0f + 0.3275911f * size);
  floats sum = 1.061405429f * t - 1.453152027f;
  sum = sum * t + 1.421413741f;
  sum = sum * t - 0.284496736f;
  sum = sum * t + 0.254829592f;
  const floats answer = 1.0f - sum * t * exponential(-size * size);
  return choose(x < 0.0f, -answer, answer);
}

static floats active(int activation, floats x) {
  const floats zero = {0};
  switch (activation) {
    case GELU: return 0.5f * x * (1.0f + error_function(x * 0.70710678f));
    case GELU_TANH: return x * sigmoid(1.59576912f * (x + 0.044715f * x * x * x)); /* (1 + tanh(y)) / 2 = σ(2y) */
    case QUICK_GELU: return x * sigmoid(1.702f * x);
    case RELU: return choose(x < 0.0f, zero, x); /* a NaN stays one */
    case RELU2: return choose(x < 0.0f, zero, x * x);
    default: return x * sigmoid(x);
  }
}

void activate(int activation, float *x, const float *by, long count) {
  for EVERY(i, count) {
    const floats answer = active(activation, load_some(x + i, count - i));
    store_some(x + i, by == NULL ? answer : answer * load_some(by + i, count - i), count - i);
  }
}

long attention_floats(const Model *model, const Step *step) { return 5 * (model->head_width + LANES) + step->length + 1 + LANES; }

/* A head's numbers out of `all` heads' (or `width` of one), normed by themselves or with all others. */
static void normed_head(const Model *model, const Norm *norm, const float *all, long heads, long head, float *to) {
  const long width = model->head_width;
  memcpy(to, all + head * width, width * sizeof *to);
  if (norm->kind == NO_NORM) return;
  const float square = model->norm_over_all ? mean_square(all, heads * width) : mean_square(to, width);
  const float inverse = 1 / sqrtf(square + norm->epsilon);
  const long first = model->norm_over_all ? head * width : 0;
  for (long i = 0; i < width; i++) to[i] *= inverse * number(norm->weight, first + i, norm->bf16);
}

static void turn(const Model *model, const Layer *layer, const Step *step, long row, float *x) {
  if (layer->table < 0) return;
  const long half = model->rotary_width / 2;
  const float *cos = step->cos[layer->table] + row * step->table_step, *sin = step->sin[layer->table] + row * step->table_step;
  for (long i = 0; i < half; i++) {
    const float first = x[i], second = x[half + i];
    x[i] = first * cos[i] - second * sin[i];
    x[half + i] = second * cos[i] + first * sin[i];
  }
}

/* Numbers of the cache as float32: LANES from `at` on, of which `there` belong to the head. */
static inline floats cached(const void *from, long at, long there, int bf16) {
  typedef uint16_t halves __attribute__((vector_size(VECTOR_BYTES / 2)));
  if (!bf16) return load_some((const float *)from + at, there);
  halves loaded = {0};
  if (there >= LANES) memcpy(&loaded, (const uint16_t *)from + at, sizeof loaded);
  else memcpy(&loaded, (const uint16_t *)from + at, there * sizeof(uint16_t));
  return (floats)(__builtin_convertvector(loaded, words) << 16);
}

/* scores[j] = q · keys[from + j] · scale, or that capped; `count` of them. q has zeros behind its last number. */
static void score(const Model *model, const float *q, const void *keys, long from, long count, float *scores) {
  const long width = model->head_width;
  for (long j = 0; j < count; j++) {
    floats sum = {0};
    for EVERY(i, width) sum += load(q + i) * cached(keys, (from + j) * width + i, width - i, model->cache_bf16);
    scores[j] = add_lanes(sum) * model->attention_scale;
    if (model->attention_cap != 0) scores[j] = model->attention_cap * tanhf(scores[j] / model->attention_cap);
  }
}

/* Scores to weights that sum to 1; `count` of them, with room for a vector. */
static void softmax(float *scores, long count) {
  float top = -INFINITY;
  for (long j = 0; j < count; j++) top = scores[j] > top ? scores[j] : top;
  for (int lane = 0; lane < LANES; lane++) scores[count + lane] = -INFINITY;
  floats sums = {0};
  for EVERY(j, count) {
    const floats weights = exponential(load(scores + j) - top);
    store(scores + j, weights);
    sums += weights;
  }
  const float inverse = 1 / add_lanes(sums);
  for (long j = 0; j < count; j++) scores[j] *= inverse;
}

void attend(const Model *model, const Layer *layer, const Step *step, long row, long head, const float *projected, float *mixed,
            float *scratch) {
  const long width = model->head_width, room = width + LANES, queries = model->heads * width, keys = model->key_value_heads * width;
  const long group = model->heads / model->key_value_heads, shared = head / group;
  const int bf16 = model->cache_bf16;
  float *q = scratch, *k = q + room, *v = k + room, *own_key = v + room, *own_value = own_key + room, *scores = own_value + room;
  memset(q + width, 0, LANES * sizeof *q);
  normed_head(model, &layer->query_norm, projected, model->heads, head, q);
  normed_head(model, &layer->key_norm, projected + queries, model->key_value_heads, shared, k);
  memcpy(v, projected + queries + keys + shared * width, width * sizeof *v);
  turn(model, layer, step, row, q);
  turn(model, layer, step, row, k);
  narrow(k, width, bf16, own_key, 0);
  narrow(v, width, bf16, own_value, 0);

  /* The token's own key and value are not read back from the cache: another thread may be writing them, for the group's first head. */
  const long size = bf16 ? sizeof(uint16_t) : sizeof(float);
  const long at = (row * model->key_value_heads + shared) * model->capacity * width * size; /* of the head's first token in the cache */
  char *head_keys = (char *)layer->keys + at, *head_values = (char *)layer->values + at;
  if (head % group == 0) {
    memcpy(head_keys + step->length * width * size, own_key, width * size);
    memcpy(head_values + step->length * width * size, own_value, width * size);
  }
  const long in_window = layer->window > 0 && step->length + 1 > layer->window ? step->length + 1 - layer->window : 0;
  const long first = in_window > step->first_keys[row] ? in_window : step->first_keys[row], before = step->length - first;
  score(model, q, head_keys, first, before, scores);
  score(model, q, own_key, 0, 1, scores + before);
  softmax(scores, before + 1);
  for EVERY(i, width) {
    floats sum = scores[before] * cached(own_value, i, width - i, bf16);
    for (long j = 0; j < before; j++) sum += scores[j] * cached(head_values, (first + j) * width + i, width - i, bf16);
    store_some(mixed + i, sum, width - i);
  }
}
