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

long attention_bytes(const Model *model, const Step *step) {
  const long most = step->length + 1 > model->source_capacity ? step->length + 1 : model->source_capacity;
  return 2 * most * sizeof(char *) + (5 * (model->head_width + LANES) + most + LANES) * sizeof(float);
}

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

static void rotate_head(const Model *model, const Layer *layer, const Step *step, long row, float *x) {
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

/* What a query sees: where each key and each value is. */
typedef struct {
  const char **keys, **values;
  long count;
} Seen;

/* scores[j] = q · key j · scale, or that capped. q has zeros behind its last number. */
static void score(const Model *model, const float *q, const Seen *seen, float *scores) {
  const long width = model->head_width;
  for (long j = 0; j < seen->count; j++) {
    floats sum = {0};
    for EVERY(i, width) sum += load(q + i) * cached(seen->keys[j], i, width - i, model->cache_bf16);
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

/* mixed = Σ weight j · value j. */
static void mix(const Model *model, const Seen *seen, const float *weights, float *mixed) {
  const long width = model->head_width;
  long i = 0;
  for (; i + 4 * LANES <= width; i += 4 * LANES) {
    floats sums[4] = {{0}, {0}, {0}, {0}};
    for (long j = 0; j < seen->count; j++)
      UNROLL for (int v = 0; v < 4; v++) sums[v] += weights[j] * cached(seen->values[j], i + v * LANES, LANES, model->cache_bf16);
    UNROLL for (int v = 0; v < 4; v++) store(mixed + i + v * LANES, sums[v]);
  }
  for (; i < width; i += LANES) {
    floats sum = {0};
    for (long j = 0; j < seen->count; j++) sum += weights[j] * cached(seen->values[j], i, width - i, model->cache_bf16);
    store_some(mixed + i, sum, width - i);
  }
}

void attend(const Model *model, const Layer *layer, const Step *step, long row, long head, const float *projected, float *mixed,
            char *scratch) {
  const long width = model->head_width, room = width + LANES, queries = model->heads * width, keys = model->key_value_heads * width;
  const long group = model->heads / model->key_value_heads, shared = head / group;
  const int bf16 = model->cache_bf16;
  Seen seen = {(const char **)scratch, (const char **)scratch + step->length + 1, 0};
  float *q = (float *)(seen.values + step->length + 1), *k = q + room, *v = k + room, *own_key = v + room, *own_value = own_key + room;
  float *scores = own_value + room;
  memset(q + width, 0, LANES * sizeof *q);
  normed_head(model, &layer->query_norm, projected, model->heads, head, q);
  normed_head(model, &layer->key_norm, projected + queries, model->key_value_heads, shared, k);
  memcpy(v, projected + queries + keys + shared * width, width * sizeof *v);
  rotate_head(model, layer, step, row, q);
  rotate_head(model, layer, step, row, k);
  narrow(k, width, bf16, own_key, 0);
  narrow(v, width, bf16, own_value, 0);

  const long size = bf16 ? sizeof(uint16_t) : sizeof(float), token = width * size, slot = model->key_value_heads * model->capacity * token;
  const long in_row = shared * model->capacity * token; /* where the head's first token is */
  if (head % group == 0) {
    const long at = row * slot + in_row + step->length * token;
    memcpy((char *)layer->keys + at, own_key, token);
    memcpy((char *)layer->values + at, own_value, token);
  }
  const long in_window = layer->window > 0 && step->length + 1 > layer->window ? step->length + 1 - layer->window : 0;
  for (long t = in_window > step->first_keys[row] ? in_window : step->first_keys[row]; t < step->length; t++) {
    const long at = (step->slots == NULL ? row : step->slots[row * model->capacity + t]) * slot + in_row + t * token;
    seen.keys[seen.count] = (const char *)layer->keys + at;
    seen.values[seen.count++] = (const char *)layer->values + at;
  }
  /* The token's own key and value are not read back from the cache: another thread may be writing them, for the group's first head. */
  seen.keys[seen.count] = (const char *)own_key;
  seen.values[seen.count++] = (const char *)own_value;
  score(model, q, &seen, scores);
  softmax(scores, seen.count);
  mix(model, &seen, scores, mixed);
}

void attend_source(const Model *model, const Layer *layer, const Step *step, long row, long head, const float *queries, float *mixed,
                   char *scratch) {
  const long width = model->head_width, source = step->sources[row], shared = head / (model->heads / model->key_value_heads);
  const long token = width * (model->cache_bf16 ? sizeof(uint16_t) : sizeof(float));
  const long first = (source * model->key_value_heads + shared) * model->source_capacity * token;
  Seen seen = {(const char **)scratch, (const char **)scratch + model->source_capacity, step->source_lengths[source]};
  float *q = (float *)(seen.values + model->source_capacity), *scores = q + width + LANES;
  memset(q + width, 0, LANES * sizeof *q);
  normed_head(model, &layer->cross_query_norm, queries, model->heads, head, q);
  for (long t = 0; t < seen.count; t++) {
    seen.keys[t] = (const char *)layer->cross_keys + first + t * token;
    seen.values[t] = (const char *)layer->cross_values + first + t * token;
  }
  score(model, q, &seen, scores);
  softmax(scores, seen.count);
  mix(model, &seen, scores, mixed);
}
