/* Products of one or two rows with a matrix of 8- or 4-bit codes, which are whole numbers up to a scale that a group of columns shares.

   The input is whole numbers, too, of 16 bits with one scale a block of 128 columns: it loses 2^-16 of the block's largest number, so that
   the answer is that of the weights as they are, not of a coarser input. Sums within a block are exact.
   measured 2026-11: bench/RESULTS.d/speed.md.

   Vectors of 16-bit numbers: of 8-bit codes, vector v holds columns 32v to 32v + 31 of the block; of 4-bit codes, whose 16-bit word j holds
   four, vector v holds columns 4j + v. A lane adds up two neighbours, so that groups narrower than a block have whole lanes to themselves. */

#include "matrix.h"

#define VECTORS 4 /* of 16-bit numbers in a block */
#define ROWS 2    /* of the matrix that are computed together */

typedef struct {
  ints a, b, c, d; /* not an array, which the compiler would keep in memory */
} Block;

/* A block's codes as 16-bit numbers; from 0 to 15 where they have 4 bits. */
static inline __attribute__((always_inline)) Block widen_block(const char *from, const int BITS4) {
  if (!BITS4) {
    const int8_t *codes = (const int8_t *)from;
    return (Block){widen_codes(codes), widen_codes(codes + 32), widen_codes(codes + 64), widen_codes(codes + 96)};
  }
  const words packed = load_words(from), low = (words){0} + 0x000f000fu;
  return (Block){(ints)(packed & low), (ints)(packed >> 4 & low), (ints)(packed >> 8 & low), (ints)(packed >> 12 & low)};
}

static inline floats to_floats(ints x) { return __builtin_convertvector(x, floats); }


/* SOME rows (ROWS, or 1) of a piece, from `row` on. NARROW: several groups share a block. The capitals are literals where this is called.
   scales: (row of the matrix, row of input), each `step` numbers from the next: of each block, or where NARROW of each group.
   lanes: where NARROW, which of a block's scales is that of each lane of each vector.
   answer: (row of the matrix, row of input). */
static inline __attribute__((always_inline)) void tile(const Matrix *matrix, const Input *input, const Piece *piece, long row, long ahead,
                                                       const float *scales, long step, const ints *lanes, floats *answer, const int SOME,
                                                       const int TOGETHER, const int BITS4, const int NARROW) {
  const long row_bytes = BITS4 ? matrix->columns / 2 : matrix->columns, block_bytes = BITS4 ? CODE_BLOCK / 2 : CODE_BLOCK;
  const long whole = matrix->columns / CODE_BLOCK, groups = NARROW ? CODE_BLOCK / matrix->group : 1;
  const char *weights = (const char *)matrix->numbers + row * row_bytes + piece->begin * block_bytes;
  const int16_t *x = input->codes + piece->begin * TOGETHER * CODE_BLOCK;
  const ints *offsets = input->offsets + piece->begin * TOGETHER;
  floats sums[2 * ROWS];
  UNROLL for (int i = 0; i < SOME * TOGETHER; i++) sums[i] = (floats){0};
  for (long block = piece->begin; block < piece->end; block++, weights += block_bytes, scales += groups) {
    const char *from = weights;
    long to_next = row_bytes;
    char last[ROWS * CODE_BLOCK]; /* columns that are no whole block */
    if (__builtin_expect(block >= whole, 0)) {
      memset(last, 0, sizeof last);
      for (int r = 0; r < SOME; r++) memcpy(last + r * CODE_BLOCK, weights + r * row_bytes, row_bytes - block * block_bytes);
      from = last, to_next = CODE_BLOCK;
    }
    UNROLL for (int r = 0; r < SOME; r++) {
      __builtin_prefetch(weights + r * row_bytes + ahead, 0, 2);
      if (!BITS4) __builtin_prefetch(weights + r * row_bytes + ahead + VECTOR_BYTES, 0, 2);
      const Block codes = widen_block(from + r * to_next, BITS4);
      UNROLL for (int n = 0; n < TOGETHER; n++) {
        const int16_t *row_x = x + n * CODE_BLOCK;
        const float *scale = scales + (r * TOGETHER + n) * step;
        floats sum = sums[r * TOGETHER + n];
        if (NARROW && !BITS4) {
          sum += pick(scale, lanes[0]) * to_floats(add_products((ints){0}, codes.a, load_ints(row_x)));
          sum += pick(scale, lanes[1]) * to_floats(add_products((ints){0}, codes.b, load_ints(row_x + 32)));
          sum += pick(scale, lanes[2]) * to_floats(add_products((ints){0}, codes.c, load_ints(row_x + 64)));
          sum += pick(scale, lanes[3]) * to_floats(add_products((ints){0}, codes.d, load_ints(row_x + 96)));
        } else {
          ints products = add_products(BITS4 ? offsets[n] : (ints){0}, codes.a, load_ints(row_x));
          products = add_products(products, codes.b, load_ints(row_x + 32));
          products = add_products(products, codes.c, load_ints(row_x + 64));
          products = add_products(products, codes.d, load_ints(row_x + 96));
          if (NARROW) sum += to_floats(products) * pick(scale, lanes[0]);
          else sum += to_floats(products) * *scale;
        }
        sums[r * TOGETHER + n] = sum;
      }
    }
    x += TOGETHER * CODE_BLOCK, offsets += TOGETHER;
  }
  UNROLL for (int i = 0; i < SOME * TOGETHER; i++) answer[i] = sums[i];
}

/* Products of scales: of a row of the matrix and of the input, `count` of them, one a group or (where that is wider) a block; in whole vectors,
   with zeros of `of_input` behind them. */
static inline void multiply_scales(const Matrix *matrix, long row, long first_block, long first, long count, const float *of_input, float *products) {
  const long groups = matrix->columns / matrix->group, left = (matrix->rows - row) * groups - first; /* scales until the matrix ends */
  const uint16_t *from = matrix->scales + row * groups;
  if (matrix->group <= CODE_BLOCK && groups > 1) {
    long i = 0;
    for (; i < count && i + LANES <= left; i += LANES) store(products + i, load_bf16(from + first + i) * load(of_input + i));
    for (; i < count; i++) products[i] = from_bf16(from[first + i]) * of_input[i];
  } else {
    const long wide = groups == 1 ? first_block + count : matrix->group / CODE_BLOCK; /* blocks of a group */
    for (long i = 0; i < count; i++) products[i] = from_bf16(from[(first_block + i) / wide]) * of_input[i];
  }
}

static inline __attribute__((always_inline)) void tiles(const Matrix *matrix, const Input *input, const Piece *piece, const int TOGETHER,
                                                        const int BITS4, const int NARROW) {
  const long groups = matrix->columns / matrix->group, in_block = NARROW ? CODE_BLOCK / matrix->group : 1;
  const long first = piece->begin * in_block, stop = piece->end * in_block, count = (NARROW && stop > groups ? groups : stop) - first;
  const long step = stop - first + LANES; /* zeros behind them, of groups that are not there and for `pick` to read */
  const long ahead = ahead_of(piece, ROWS, BITS4 ? matrix->columns / 2 : matrix->columns);
  float of_input[TOGETHER * step], scales[ROWS * TOGETHER * step];
  memset(scales, 0, sizeof scales);
  memset(of_input, 0, sizeof of_input);
  for (int n = 0; n < TOGETHER; n++)
    for (long i = 0; i < count; i++) of_input[n * step + i] = input->scales[(piece->begin + i / in_block) * TOGETHER + n];
  ints lanes[VECTORS];
  for (int v = 0; v < VECTORS; v++)
    for (int lane = 0; lane < LANES; lane++) lanes[v][lane] = (BITS4 ? 8 * lane : 2 * (v * LANES + lane)) / (int)matrix->group;
  floats sums[LANES];
  long begun = piece->from; /* the first row whose sums are not added up yet */
  for (long row = piece->from; row < piece->to; row += ROWS) {
    const long there = piece->to - row < ROWS ? piece->to - row : ROWS;
    for (int r = 0; r < there; r++)
      for (int n = 0; n < TOGETHER; n++)
        multiply_scales(matrix, row + r, piece->begin, first, count, of_input + n * step, scales + (r * TOGETHER + n) * step);
    floats *to = sums + (row - begun) * TOGETHER;
    if (there == ROWS) tile(matrix, input, piece, row, ahead, scales, step, lanes, to, ROWS, TOGETHER, BITS4, NARROW);
    else tile(matrix, input, piece, row, ahead, scales, step, lanes, to, 1, TOGETHER, BITS4, NARROW);
    if ((row + ROWS - begun) * TOGETHER == LANES || row + ROWS >= piece->to) {
      add_sums(piece, begun, row + there - begun, sums);
      begun = row + ROWS;
    }
  }
}

#define CASE(TOGETHER)                                                          \
  case TOGETHER:                                                                \
    if (bits4 && narrow) tiles(matrix, input, piece, TOGETHER, 1, 1);           \
    else if (bits4) tiles(matrix, input, piece, TOGETHER, 1, 0);                \
    else if (narrow) tiles(matrix, input, piece, TOGETHER, 0, 1);               \
    else tiles(matrix, input, piece, TOGETHER, 0, 0);                           \
    break;

void multiply_codes(const Matrix *matrix, const Input *input, const Piece *piece) {
  const int narrow = matrix->group != matrix->columns && matrix->group % CODE_BLOCK != 0, bits4 = matrix->kind == INT4;
  switch (piece->together) { CASE(1) CASE(2) }
}
