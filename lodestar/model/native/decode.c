/* One token a row through all layers of a decoder, in one call: at one token a step, what stands between the products would otherwise be
   a third of the time, in Python and in the start of each operation. measured 2026-11: bench/RESULTS.d/speed.md.

   Each thread keeps the residual stream for itself, and computes norms and the products' input for itself: that is cheaper than waiting for
   another thread to do it. What is shared are the products' rows; five times a layer all threads wait for each other.
   Between the products, all is float32. */

#include <omp.h>
#include <stdlib.h>

#include "decode.h"

/* Shared by the threads: (batch, …) each. */
typedef struct {
  float *projected, *mixed, *delta, *gate, *up;
} Shared;

/* A thread's own. */
typedef struct {
  float *x, *normed, *scratch; /* (batch, width) twice; for attention */
  void *input;                 /* prepared for products */
  long part, parts;            /* which thread, of how many */
} Own;

static long aligned(long bytes) { return (bytes + VECTOR_BYTES - 1) / VECTOR_BYTES * VECTOR_BYTES; }

static long larger(long a, long b) { return a > b ? a : b; }

/* The rows of a product that are this thread's. */
static long start_of(const Own *own, long rows, long part) { return rows * part / own->parts; }

/* This thread's rows of y (batch, …) = matrix · x; `step` is from the y of one row of input to the next. */
static void product(const Matrix *matrix, const Input *input, const Own *own, float *y, long step) {
  multiply(matrix, input, start_of(own, matrix->rows, own->part), start_of(own, matrix->rows, own->part + 1), y, step);
}

static Input input_of(const Matrix *matrix, const float *x, const Step *step, const Own *own) {
  return prepare(x, matrix->columns, step->batch, matrix->columns, matrix->kind, own->input, 0, step->batch);
}

/* normed = norm(x) of each row, where the norm comes before the sublayer. */
static void enter(const Model *model, const Norm *norm, const Step *step, const Own *own) {
  const Norm none = {.kind = NO_NORM};
  for (long b = 0; b < step->batch; b++)
    apply_norm(model->norm_place == POST ? &none : norm, own->x + b * model->width, model->width, own->normed + b * model->width);
}

/* The residual sum: x + output_norm(delta), or norm(x + delta). */
static void leave(const Model *model, const Norm *norm, const Norm *output_norm, const float *delta, const Step *step, const Own *own) {
  for (long b = 0; b < step->batch; b++) {
    float *x = own->x + b * model->width, *normed = own->normed + b * model->width;
    apply_norm(output_norm, delta + b * model->width, model->width, normed);
    for (long i = 0; i < model->width; i++) x[i] += normed[i];
    if (model->norm_place == POST) apply_norm(norm, x, model->width, x);
  }
}

static void attention(const Model *model, const Layer *layer, const Step *step, const Shared *shared, const Own *own) {
  const long queries = layer->query.rows, keys = layer->key.rows, all = queries + 2 * keys;
  enter(model, &layer->attention_norm, step, own);
  const Matrix *matrices[] = {&layer->query, &layer->key, &layer->value};
  float *places[] = {shared->projected, shared->projected + queries, shared->projected + queries + keys};
  Input input;
  for (int n = 0; n < 3; n++) {
    if (n == 0 || matrices[n]->kind != matrices[n - 1]->kind) input = input_of(matrices[n], own->normed, step, own);
    product(matrices[n], &input, own, places[n], all);
  }
#pragma omp barrier
  for (long task = own->part; task < step->batch * model->heads; task += own->parts) {
    const long row = task / model->heads, head = task % model->heads;
    attend(model, layer, step, row, head, shared->projected + row * all, shared->mixed + row * queries + head * model->head_width,
           own->scratch);
  }
#pragma omp barrier
  input = input_of(&layer->output, shared->mixed, step, own);
  product(&layer->output, &input, own, shared->delta, model->width);
#pragma omp barrier
  leave(model, &layer->attention_norm, &layer->attention_output_norm, shared->delta, step, own);
}

static void feed_forward(const Model *model, const Layer *layer, const Step *step, const Shared *shared, const Own *own) {
  const long hidden = layer->up.rows, from = start_of(own, hidden, own->part), to = start_of(own, hidden, own->part + 1);
  const int gated = layer->gate.numbers != NULL;
  enter(model, &layer->feed_forward_norm, step, own);
  Input input = input_of(&layer->up, own->normed, step, own);
  product(&layer->up, &input, own, shared->up, hidden);
  if (gated) {
    if (layer->gate.kind != layer->up.kind) input = input_of(&layer->gate, own->normed, step, own);
    product(&layer->gate, &input, own, shared->gate, hidden);
  }
  float *active = gated ? shared->gate : shared->up;
  for (long b = 0; b < step->batch; b++)
    activate(model->activation, active + b * hidden + from, gated ? shared->up + b * hidden + from : NULL, to - from);
#pragma omp barrier
  input = input_of(&layer->down, active, step, own);
  product(&layer->down, &input, own, shared->delta, model->width);
#pragma omp barrier
  leave(model, &layer->feed_forward_norm, &layer->feed_forward_output_norm, shared->delta, step, own);
}

static void logits(const Model *model, const Step *step, const Own *own) {
  for (long b = 0; b < step->batch; b++) {
    float *normed = own->normed + b * model->width;
    apply_norm(&model->norm, own->x + b * model->width, model->width, normed);
    for (long i = 0; i < model->width; i++) normed[i] *= model->output_scale;
  }
  const Input input = input_of(&model->head, own->normed, step, own);
  product(&model->head, &input, own, step->logits, model->head.rows);
}

/* Logits of the token after each row's, and its keys and values in the cache. Returns 0, or 1 when there is no memory. */
int decode(const Model *model, const Step *step, int threads) {
  long widest = model->width, hidden = 0;
  for (long n = 0; n < model->depth; n++) {
    widest = larger(widest, larger(model->layers[n].output.columns, model->layers[n].down.columns));
    hidden = larger(hidden, model->layers[n].up.rows);
  }
  const long row = sizeof(float) * step->batch, all = (model->heads + 2 * model->key_value_heads) * model->head_width;
  const long x_bytes = aligned(row * model->width), scratch = aligned(attention_floats(model, step) * sizeof(float));
  const long own_bytes = 2 * x_bytes + scratch + input_bytes(step->batch, widest);
  const long projected = aligned(row * all), up = aligned(row * hidden), shared_bytes = 2 * projected + x_bytes + 2 * up;
  char *memory = aligned_alloc(VECTOR_BYTES, shared_bytes + threads * own_bytes);
  if (memory == NULL) return 1;
  const Shared shared = {(float *)memory, (float *)(memory + projected), (float *)(memory + 2 * projected),
                         (float *)(memory + 2 * projected + x_bytes), (float *)(memory + 2 * projected + x_bytes + up)};
#pragma omp parallel num_threads(threads)
  {
    char *start = memory + shared_bytes + omp_get_thread_num() * own_bytes;
    const Own own = {(float *)start, (float *)(start + x_bytes), (float *)(start + 2 * x_bytes), start + 2 * x_bytes + scratch,
                     omp_get_thread_num(), omp_get_num_threads()};
    memcpy(own.x, step->embedded, row * model->width);
    for (long n = 0; n < model->depth; n++) {
      attention(model, model->layers + n, step, &shared, &own);
      feed_forward(model, model->layers + n, step, &shared, &own);
    }
    logits(model, step, &own);
  }
  free(memory);
  return 0;
}
