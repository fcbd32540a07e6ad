/* One token a row through all layers of a decoder, in one call: at one token a step, what stands between the products would otherwise be
   a third of the time, in Python and in the start of each operation. measured 2026-11: bench/RESULTS.d/speed.md.

   Of a few rows each thread keeps the residual stream for itself, and computes norms and the products' input for itself: that is cheaper than
   waiting for another thread to do it. Of many, each does it for some rows, and all wait for each other once more. What is always shared are
   the products' rows; five times a layer all threads wait for each other, and three times more for a source.
   Between the products, all is float32. */

#include <omp.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "decode.h"

/* Where all threads wait for each other. Not OpenMP's barrier: once a process has more of its threads than cores, as with a pool for each of
   several threads that compute, those go to sleep at once, and to be woken a hundred times a token takes as long as the token. */
typedef struct {
  atomic_int arrived;
  atomic_uint round;
} Meeting;

#define SPINS 4096 /* looks, of about 50 ns each, before the core is offered to others */

static void look_again(long looks) {
  if (looks > SPINS) sched_yield();
#ifdef __x86_64__
  else _mm_pause();
#endif
}

static void meet(Meeting *meeting, long threads) {
  const unsigned round = atomic_load_explicit(&meeting->round, memory_order_acquire);
  if (atomic_fetch_add_explicit(&meeting->arrived, 1, memory_order_acq_rel) + 1 == threads) {
    atomic_store_explicit(&meeting->arrived, 0, memory_order_relaxed);
    atomic_store_explicit(&meeting->round, round + 1, memory_order_release);
    return;
  }
  for (long looks = 0; atomic_load_explicit(&meeting->round, memory_order_acquire) == round; looks++) look_again(looks);
}

/* Shared by the threads: (batch, …) each. */
typedef struct {
  float *projected, *mixed, *delta, *gate, *up;
} Shared;

/* What a thread works with; `x`, `normed` and `input` are its own or, where `together`, those of all. */
typedef struct {
  float *x, *normed; /* (batch, width) */
  void *input;       /* prepared for products */
  char *scratch;     /* for attention */
  long part, parts;  /* which thread, of how many */
  long first, stop;  /* the rows whose norms and input are this thread's to compute */
  int together;
  Meeting *meeting;
} Own;

static void wait_for_all(const Own *own) { meet(own->meeting, own->parts); }

#define MOST_ALONE MOST_TOGETHER /* rows that each thread computes for itself */

static long aligned(long bytes) { return (bytes + VECTOR_BYTES - 1) / VECTOR_BYTES * VECTOR_BYTES; }

static long larger(long a, long b) { return a > b ? a : b; }

/* The rows of a product that are this thread's. */
static long start_of(const Own *own, long rows, long part) { return rows * part / own->parts; }

/* This thread's rows of y (batch, …) = matrix · x; `step` is from the y of one row of input to the next. */
static void product(const Matrix *matrix, const Input *input, const Own *own, float *y, long step) {
  multiply(matrix, input, start_of(own, matrix->rows, own->part), start_of(own, matrix->rows, own->part + 1), y, step);
}

/* Input for a product, of x (batch, …). */
static Input input_of(const Matrix *matrix, const float *x, const Step *step, const Own *own) {
  const Input input = prepare(x, matrix->columns, step->batch, matrix->columns, matrix->kind, own->input, own->first, own->stop);
  if (own->together) wait_for_all(own);
  return input;
}

/* The same where another input was made, which other threads may be using still. */
static Input next_input(const Matrix *matrix, const float *x, const Step *step, const Own *own) {
  if (own->together) wait_for_all(own);
  return input_of(matrix, x, step, own);
}

/* normed = norm(x) of each row, where the norm comes before the sublayer. */
static void enter(const Model *model, const Norm *norm, const Own *own) {
  const Norm none = {.kind = NO_NORM};
  for (long b = own->first; b < own->stop; b++)
    apply_norm(model->norm_place == POST ? &none : norm, own->x + b * model->width, model->width, own->normed + b * model->width);
}

/* The residual sum: x + output_norm(delta), or norm(x + delta). */
static void leave(const Model *model, const Norm *norm, const Norm *output_norm, const float *delta, const Own *own) {
  for (long b = own->first; b < own->stop; b++) {
    float *x = own->x + b * model->width, *normed = own->normed + b * model->width;
    apply_norm(output_norm, delta + b * model->width, model->width, normed);
    for (long i = 0; i < model->width; i++) x[i] += normed[i];
    if (model->norm_place == POST) apply_norm(norm, x, model->width, x);
  }
}

/* delta = output · mixed, and the residual sum. */
static void write_back(const Model *model, const Matrix *output, const Norm *norm, const Norm *output_norm, const float *mixed,
                       const Step *step, const Shared *shared, const Own *own) {
  wait_for_all(own);
  const Input input = input_of(output, mixed, step, own);
  product(output, &input, own, shared->delta, model->width);
  wait_for_all(own);
  leave(model, norm, output_norm, shared->delta, own);
}

static void attention(const Model *model, const Layer *layer, const Step *step, const Shared *shared, const Own *own) {
  const long queries = layer->query.rows, keys = layer->key.rows, all = queries + 2 * keys;
  enter(model, &layer->attention_norm, own);
  const Matrix *matrices[] = {&layer->query, &layer->key, &layer->value};
  float *places[] = {shared->projected, shared->projected + queries, shared->projected + queries + keys};
  Input input;
  for (int n = 0; n < 3; n++) {
    if (n == 0) input = input_of(matrices[n], own->normed, step, own);
    else if (matrices[n]->kind != matrices[n - 1]->kind) input = next_input(matrices[n], own->normed, step, own);
    product(matrices[n], &input, own, places[n], all);
  }
  wait_for_all(own);
  for (long task = own->part; task < step->batch * model->heads; task += own->parts) {
    const long row = task / model->heads, head = task % model->heads;
    attend(model, layer, step, row, head, shared->projected + row * all, shared->mixed + row * queries + head * model->head_width,
           own->scratch);
  }
  write_back(model, &layer->output, &layer->attention_norm, &layer->attention_output_norm, shared->mixed, step, shared, own);
}

static void cross_attention(const Model *model, const Layer *layer, const Step *step, const Shared *shared, const Own *own) {
  const long queries = layer->cross_query.rows;
  enter(model, &layer->cross_norm, own);
  const Input input = input_of(&layer->cross_query, own->normed, step, own);
  product(&layer->cross_query, &input, own, shared->projected, queries);
  wait_for_all(own);
  for (long task = own->part; task < step->batch * model->heads; task += own->parts) {
    const long row = task / model->heads, head = task % model->heads;
    attend_source(model, layer, step, row, head, shared->projected + row * queries,
                  shared->mixed + row * queries + head * model->head_width, own->scratch);
  }
  write_back(model, &layer->cross_output, &layer->cross_norm, &layer->cross_output_norm, shared->mixed, step, shared, own);
}

static void feed_forward(const Model *model, const Layer *layer, const Step *step, const Shared *shared, const Own *own) {
  const long hidden = layer->up.rows, from = start_of(own, hidden, own->part), to = start_of(own, hidden, own->part + 1);
  const int gated = layer->gate.numbers != NULL;
  enter(model, &layer->feed_forward_norm, own);
  Input input = input_of(&layer->up, own->normed, step, own);
  product(&layer->up, &input, own, shared->up, hidden);
  if (gated) {
    if (layer->gate.kind != layer->up.kind) input = next_input(&layer->gate, own->normed, step, own);
    product(&layer->gate, &input, own, shared->gate, hidden);
  }
  float *active = gated ? shared->gate : shared->up;
  for (long b = 0; b < step->batch; b++)
    activate(model->activation, active + b * hidden + from, gated ? shared->up + b * hidden + from : NULL, to - from);
  write_back(model, &layer->down, &layer->feed_forward_norm, &layer->feed_forward_output_norm, active, step, shared, own);
}

static void logits(const Model *model, const Step *step, const Own *own) {
  for (long b = own->first; b < own->stop; b++) {
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
  const int together = threads > 1 && step->batch > MOST_ALONE;
  const long row = sizeof(float) * step->batch, all = (model->heads + 2 * model->key_value_heads) * model->head_width;
  const long x_bytes = aligned(row * model->width), scratch = aligned(attention_bytes(model, step));
  const long stream_bytes = 2 * x_bytes + input_bytes(step->batch, widest), streams = together ? 1 : threads;
  const long projected = aligned(row * all), up = aligned(row * hidden), shared_bytes = 2 * projected + x_bytes + 2 * up;
  char *memory = aligned_alloc(VECTOR_BYTES, shared_bytes + streams * stream_bytes + threads * scratch);
  if (memory == NULL) return 1;
  const Shared shared = {(float *)memory, (float *)(memory + projected), (float *)(memory + 2 * projected),
                         (float *)(memory + 2 * projected + x_bytes), (float *)(memory + 2 * projected + x_bytes + up)};
  Meeting meeting = {0};
#pragma omp parallel num_threads(threads)
  {
    const long part = omp_get_thread_num(), parts = omp_get_num_threads();
    char *stream = memory + shared_bytes + (together ? 0 : part) * stream_bytes;
    const Own own = {.x = (float *)stream, .normed = (float *)(stream + x_bytes), .input = stream + 2 * x_bytes,
                     .scratch = memory + shared_bytes + streams * stream_bytes + part * scratch, .part = part, .parts = parts,
                     .first = together ? part_of_rows(step->batch, part, parts) : 0,
                     .stop = together ? part_of_rows(step->batch, part + 1, parts) : step->batch, .together = together, .meeting = &meeting};
    memcpy(own.x + own.first * model->width, step->embedded + own.first * model->width, (own.stop - own.first) * model->width * sizeof *own.x);
    for (long n = 0; n < model->depth; n++) {
      const Layer *layer = model->layers + n;
      attention(model, layer, step, &shared, &own);
      if (layer->cross_query.numbers != NULL) cross_attention(model, layer, step, &shared, &own);
      feed_forward(model, layer, step, &shared, &own);
    }
    logits(model, step, &own);
  }
  free(memory);
  return 0;
}
