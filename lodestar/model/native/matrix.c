/* Rows of input in the form that a kind of matrix wants, and the product of any kind. */

#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "matrix.h"

#define CACHED 32768 /* bytes of input that stay in the core's first cache beside the matrix */

typedef int16_t shorts __attribute__((vector_size(VECTOR_BYTES)));
typedef int16_t halves __attribute__((vector_size(VECTOR_BYTES / 2)));

static long whole_blocks(long columns, long block) { return (columns + block - 1) / block * block; }

long padded_rows(long rows) { return rows > 4 ? MOST_TOGETHER : rows > 2 ? 4 : rows; }

/* Whether so many rows of input are worth turning the matrix for. measured 2026-11: bench/RESULTS.d/speed.md. */
static int takes_panels(int kind, long batch) { return kind == NF4 || batch > (takes_numbers(kind) ? MOST_TOGETHER : 2); }

long part_of_rows(long batch, long part, long parts) {
  const long all = (batch + MOST_TOGETHER - 1) / MOST_TOGETHER, rows = all * part / parts * MOST_TOGETHER;
  return rows < batch ? rows : batch;
}

long input_bytes(long batch, long columns) {
  const long rows = batch / MOST_TOGETHER * MOST_TOGETHER + padded_rows(batch % MOST_TOGETHER);
  const long blocks = whole_blocks(columns, CODE_BLOCK) / CODE_BLOCK;
  const long numbers = whole_blocks(columns, DENSE_BLOCK) * sizeof(float);
  const long codes = blocks * (CODE_BLOCK * sizeof(int16_t) + VECTOR_BYTES + sizeof(float));
  return whole_blocks(rows * (numbers > codes ? numbers : codes), VECTOR_BYTES);
}

/* A block of one row, with zeros for the columns that it does not have, or for all where there is no row. */
static void read_block(const float *x, long columns, long start, long block, float *to) {
  const long left = columns - start, there = x == NULL ? 0 : left < block ? left : block;
  if (there > 0) memcpy(to, x + start, there * sizeof *x);
  memset(to + there, 0, (block - there) * sizeof *x);
}

static void split_pairs(const float *block, float *to) {
  for (int lane = 0; lane < LANES; lane++) to[lane] = block[2 * lane], to[LANES + lane] = block[2 * lane + 1];
}

/* Codes of one block of numbers, and the scale: code · scale is the number, to 2^-16 of the largest. Numbers that are not finite make the
   scale, and so every sum that the block is part of, NaN. */
static float encode(const float *block, shorts codes[4]) {
  ints most = {0};
  floats finite = {0};
  for (int i = 0; i < CODE_BLOCK; i += LANES) {
    const ints size = load_ints(block + i) & INT32_MAX; /* the bits of a positive float32 are ordered as it is */
    const ints larger = size > most;
    most = (size & larger) | (most & ~larger);
    finite += load(block + i) * 0.0f;
  }
  int bits = most[0];
  for (int lane = 1; lane < LANES; lane++) bits = most[lane] > bits ? most[lane] : bits;
  float top;
  memcpy(&top, &bits, sizeof top);
  const float nearest = 12582912.0f; /* 1.5 · 2^23: added to a small number, it leaves the number rounded in its last bits */
  const float inverse = top > 1e-30f ? 32767 / top : 0;
  for (int i = 0; i < CODE_BLOCK; i += LANES) {
    const ints rounded = (ints)(load(block + i) * inverse + nearest);
    const halves narrowed = __builtin_convertvector(rounded, halves);
    memcpy((int16_t *)codes + i, &narrowed, sizeof narrowed);
  }
  return (inverse == 0 ? 0 : top / 32767) + add_lanes(finite);
}

/* Every fourth column to a vector of its own, as 4-bit codes stand in their words. */
static void deal(shorts codes[4]) {
  shorts every_fourth, dealt[4], joined;
  for (int j = 0; j < 32; j++) joined[j] = j < 16 ? j : j + 16;
  for (int v = 0; v < 4; v++) {
    for (int j = 0; j < 32; j++) every_fourth[j] = (4 * j + v) % 64;
    dealt[v] = __builtin_shuffle(__builtin_shuffle(codes[0], codes[1], every_fourth), __builtin_shuffle(codes[2], codes[3], every_fourth), joined);
  }
  memcpy(codes, dealt, sizeof dealt);
}

/* Columns 0, 2, 1, 3 of each four, as panels.c takes the codes of 8 bits apart. */
static void pair_up(shorts codes[4]) {
  shorts order;
  for (int j = 0; j < 32; j++) order[j] = j % 4 == 1 ? j + 1 : j % 4 == 2 ? j - 1 : j;
  for (int v = 0; v < 4; v++) codes[v] = __builtin_shuffle(codes[v], order);
}

static Input prepare_numbers(const float *x, long step, long batch, long columns, int bf16, float *memory, long from, long stop) {
  const long blocks = whole_blocks(columns, DENSE_BLOCK) / DENSE_BLOCK;
  const Input input = {.batch = batch, .blocks = blocks, .numbers = memory};
  for (long first = from; first < stop; first += MOST_TOGETHER) {
    float *to = memory + first * blocks * DENSE_BLOCK;
    for (long block = 0; block < blocks; block++)
      for (long n = 0; n < padded_rows(batch - first); n++, to += DENSE_BLOCK) {
        float numbers[DENSE_BLOCK];
        read_block(first + n < batch ? x + (first + n) * step : NULL, columns, block * DENSE_BLOCK, DENSE_BLOCK, bf16 ? numbers : to);
        if (bf16) split_pairs(numbers, to);
      }
  }
  return input;
}

static Input prepare_codes(const float *x, long step, long batch, long columns, int bits4, shorts *memory, long from, long stop) {
  const int panels = takes_panels(bits4 ? INT4 : INT8, batch);
  const long rows = (batch - 1) / MOST_TOGETHER * MOST_TOGETHER + padded_rows((batch - 1) % MOST_TOGETHER + 1);
  const long blocks = whole_blocks(columns, CODE_BLOCK) / CODE_BLOCK;
  ints *all_offsets = (ints *)(memory + rows * blocks * 4);
  float *all_scales = (float *)(all_offsets + rows * blocks);
  const Input input = {.batch = batch, .blocks = blocks, .codes = (int16_t *)memory, .scales = all_scales, .offsets = all_offsets};
  for (long first = from; first < stop; first += MOST_TOGETHER) {
    shorts *codes = memory + first * blocks * 4;
    ints *offsets = all_offsets + first * blocks;
    float *scales = all_scales + first * blocks;
    for (long block = 0; block < blocks; block++)
      for (long n = 0; n < padded_rows(batch - first); n++, codes += 4) {
        float numbers[CODE_BLOCK];
        read_block(first + n < batch ? x + (first + n) * step : NULL, columns, block * CODE_BLOCK, CODE_BLOCK, numbers);
        *scales++ = encode(numbers, codes);
        if (bits4) deal(codes);
        else if (panels) pair_up(codes);
        if (!bits4 || panels) continue;
        ints sum = {0};
        for (int v = 0; v < 4; v++) sum = add_products(sum, (ints)codes[v], (ints){0} + 0x00010001);
        *offsets++ = sum * -8;
      }
  }
  return input;
}

Input prepare(const float *x, long step, long batch, long columns, int kind, void *memory, long from, long stop) {
  if (takes_numbers(kind)) return prepare_numbers(x, step, batch, columns, kind == BFLOAT16, memory, from, stop);
  return prepare_codes(x, step, batch, columns, kind == INT4, memory, from, stop);
}

void add_sums(const Piece *piece, long row, int rows, const floats sums[LANES]) {
  floats v[LANES];
  float totals[LANES];
  const int count = rows * piece->together;
  for (int i = 0; i < LANES; i++) v[i] = i < count ? sums[i] : (floats){0};
  store(totals, count <= 2 ? sum_each(v, 2) : count <= 4 ? sum_each(v, 4) : count <= 8 ? sum_each(v, 8) : sum_each(v, 16));
  for (int r = 0; r < rows && row + r < piece->to; r++)
    for (int n = 0; n < piece->there; n++) piece->y[n * piece->step + row + r] += totals[r * piece->together + n];
}

/* The input of several rows is larger than the core's first cache, and each row of the matrix would read it from the second. So IN_TURN rows
   of the matrix at a time meet as much of it as fits, then the next part of it. */
void multiply(const Matrix *matrix, const Input *input, long from, long to, float *y, long step) {
  const int dense = takes_numbers(matrix->kind);
  const long block_bytes = dense ? DENSE_BLOCK * sizeof(float) : CODE_BLOCK * sizeof(int16_t) + VECTOR_BYTES;
  if (takes_panels(matrix->kind, input->batch)) {
    multiply_panels(matrix, input, from, to, y, step);
    return;
  }
  for (long b = 0; b < input->batch; b++)
    for (long row = from; row < to; row++) y[b * step + row] = matrix->bias == NULL ? 0 : number(matrix->bias, row, matrix->bias_bf16);
  const long together = padded_rows(input->batch), parts = (together * input->blocks * block_bytes + CACHED - 1) / CACHED;
  for (Piece piece = {.from = from, .there = input->batch, .together = together, .y = y, .step = step}; piece.from < to; piece.from = piece.to) {
    piece.to = parts == 1 || to - piece.from < IN_TURN ? to : piece.from + IN_TURN;
    for (long part = 0; part < parts; part++) {
      piece.begin = input->blocks * part / parts, piece.end = input->blocks * (part + 1) / parts;
      piece.rows_ahead = parts == 1 ? 1 : IN_TURN;
      if (dense) multiply_numbers(matrix, input, &piece);
      else multiply_codes(matrix, input, &piece);
    }
  }
}

/* y (batch, rows) = x (batch, columns) · weightᵀ + bias, x and y contiguous float32 or bfloat16. Returns 0, or 1 when there is no memory. */
int linear(const Matrix *matrix, const void *x, void *y, long batch, int bf16, int threads) {
  const long columns = matrix->columns, rows = matrix->rows;
  const long prepared = input_bytes(batch, columns), read = whole_blocks(batch * columns * sizeof(float), VECTOR_BYTES);
  char *memory = aligned_alloc(VECTOR_BYTES, prepared + read + whole_blocks(batch * rows * sizeof(float), VECTOR_BYTES));
  if (memory == NULL) return 1;
  float *numbers = (float *)(memory + prepared), *sums = (float *)(memory + prepared + read);
#pragma omp parallel num_threads(threads)
  {
    const long part = omp_get_thread_num(), parts = omp_get_num_threads();
    const long begin = part_of_rows(batch, part, parts), end = part_of_rows(batch, part + 1, parts);
    widen(x, begin * columns, (end - begin) * columns, bf16, numbers + begin * columns);
    const Input input = prepare(numbers, columns, batch, columns, matrix->kind, memory, begin, end);
#pragma omp barrier
    const long from = rows * part / parts, to = rows * (part + 1) / parts;
    multiply(matrix, &input, from, to, sums, rows);
    for (long b = 0; b < batch; b++) narrow(sums + b * rows + from, to - from, bf16, y, b * rows + from);
  }
  free(memory);
  return 0;
}
