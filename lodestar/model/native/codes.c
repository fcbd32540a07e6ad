/* Products of a few rows with a matrix of 8- or 4-bit codes, which are whole numbers up to a scale that a group of columns shares.

   The input is whole numbers, too, of 16 bits with one scale a block of 128 columns: it loses 2^-16 of the block's largest number, so that
   the answer is that of the weights as they are, not of a coarser input. Sums within a block are exact.
   measured 2026-11: bench/RESULTS.d/speed.md.

   Vectors of 16-bit numbers: of 8-bit codes, vector v holds columns 32v to 32v + 31 of the block; of 4-bit codes, whose 16-bit word j holds
   four, vector v holds columns 4j + v. A lane adds up two neighbours, so that groups narrower than a block have whole lanes to themselves. */

#include "matrix.h"

#define AHEAD 2048
#define VECTORS 4 /* of 16-bit numbers in a block */
#define ROWS 2    /* of the matrix that are computed together */

typedef struct {
  ints a, b, c, d; /* not an array, which the compiler would keep in memory */
} Block;

/* A block's codes as 16-bit numbers; from 0 to 15 where they have 4 bits. */
static inline Block widen_block(const char *from, const int BITS4) {
  if (!BITS4) {
    const int8_t *codes = (const int8_t *)from;
    return (Block){widen_codes(codes), widen_codes(codes + 32), widen_codes(codes + 64), widen_codes(codes + 96)};
  }
  const words packed = load_words(from), low = (words){0} + 0x000f000fu;
  return (Block){(ints)(packed & low), (ints)(packed >> 4 & low), (ints)(packed >> 8 & low), (ints)(packed >> 12 & low)};
}

static inline floats to_floats(ints x) { return __builtin_convertvector(x, floats); }

/* ROWS rows of a piece, from `row` on; where only one is left, it is taken for both. NARROW: several groups share a block. The capitals are literals where this is called.
   scales: of each row, as `read_scales` makes them.
   lanes: where NARROW, which of a block's scales is that of each lane of each vector. */
static inline __attribute__((always_inline)) void tile(const Matrix *matrix, const Input *input, const Piece *piece, long row,
                                                       const float *scales, long scales_step, const ints *lanes, const int TOGETHER,
                                                       const int BITS4, const int NARROW) {
  const long row_bytes = BITS4 ? matrix->columns / 2 : matrix->columns, block_bytes = BITS4 ? CODE_BLOCK / 2 : CODE_BLOCK;
  const long to_next = row + 1 < piece->to ? row_bytes : 0, scales_to_next = row + 1 < piece->to ? scales_step : 0;
  const long whole = matrix->columns / CODE_BLOCK, groups = NARROW ? CODE_BLOCK / matrix->group : 1;
  const char *weights = (const char *)matrix->numbers + row * row_bytes + piece->begin * block_bytes;
  const long before = piece->first * input->blocks + piece->begin * TOGETHER;
  const int16_t *x = input->codes + before * CODE_BLOCK;
  const float *x_scales = input->scales + before;
  const ints *offsets = input->offsets + before;
  floats sums[LANES];
  UNROLL for (int i = 0; i < LANES; i++) sums[i] = (floats){0};
  for (long block = piece->begin; block < piece->end; block++, weights += block_bytes, scales += groups) {
    Block codes[2];
    UNROLL for (int r = 0; r < ROWS; r++) {
      const char *from = weights + r * to_next;
      char last[CODE_BLOCK]; /* columns that are no whole block */
      if (block < whole) {
        __builtin_prefetch(from + AHEAD);
        if (!BITS4) __builtin_prefetch(from + AHEAD + VECTOR_BYTES);
      } else {
        memset(last, 0, sizeof last);
        memcpy(last, from, row_bytes - block * block_bytes);
        from = last;
      }
      codes[r] = widen_block(from, BITS4);
    }
    if (NARROW && !BITS4) {
      UNROLL for (int r = 0; r < ROWS; r++) {
        const float *of_row = scales + r * scales_to_next;
        const floats scale_a = pick(of_row, lanes[0]), scale_b = pick(of_row, lanes[1]);
        const floats scale_c = pick(of_row, lanes[2]), scale_d = pick(of_row, lanes[3]);
        UNROLL for (int n = 0; n < TOGETHER; n++) {
          const int16_t *row_x = x + n * CODE_BLOCK;
          floats sum = scale_a * to_floats(add_products((ints){0}, codes[r].a, load_ints(row_x)));
          sum += scale_b * to_floats(add_products((ints){0}, codes[r].b, load_ints(row_x + 32)));
          sum += scale_c * to_floats(add_products((ints){0}, codes[r].c, load_ints(row_x + 64)));
          sum += scale_d * to_floats(add_products((ints){0}, codes[r].d, load_ints(row_x + 96)));
          sums[r * TOGETHER + n] += sum * x_scales[n];
        }
      }
    } else {
      floats scale[2];
      UNROLL for (int r = 0; r < ROWS; r++) {
        const float *of_row = scales + r * scales_to_next;
        scale[r] = NARROW ? pick(of_row, lanes[0]) : (floats){0} + of_row[0];
      }
      UNROLL for (int n = 0; n < TOGETHER; n++) {
        const ints x_a = load_ints(x + n * CODE_BLOCK), x_b = load_ints(x + n * CODE_BLOCK + 32);
        const ints x_c = load_ints(x + n * CODE_BLOCK + 64), x_d = load_ints(x + n * CODE_BLOCK + 96);
        UNROLL for (int r = 0; r < ROWS; r++) {
          ints sum = add_products(BITS4 ? offsets[n] : (ints){0}, codes[r].a, x_a);
          sum = add_products(sum, codes[r].b, x_b);
          sum = add_products(sum, codes[r].c, x_c);
          sum = add_products(sum, codes[r].d, x_d);
          sums[r * TOGETHER + n] += to_floats(sum) * (scale[r] * x_scales[n]);
        }
      }
    }
    x += TOGETHER * CODE_BLOCK, x_scales += TOGETHER, offsets += TOGETHER;
  }
  floats answer[LANES]; /* a copy, so that the sums themselves can stay in registers */
  UNROLL for (int i = 0; i < ROWS * TOGETHER; i++) answer[i] = sums[i];
  add_sums(piece, row, ROWS, answer);
}

/* The scales of a row's blocks, as float32: one a block, or where NARROW one a group, with zeros in a vector or two behind them. */
static void read_scales(const Matrix *matrix, long row, long begin, long end, int narrow, float *scales) {
  const long groups = matrix->columns / matrix->group, blocks = (matrix->columns + CODE_BLOCK - 1) / CODE_BLOCK;
  const uint16_t *from = matrix->scales + row * groups;
  if (narrow) {
    const long first = begin * CODE_BLOCK / matrix->group, stop = end * CODE_BLOCK / matrix->group;
    const long count = (stop < groups ? stop : groups) - first;
    widen(from, first, count, 1, scales);
    store(scales + count, (floats){0});
    store(scales + count + LANES, (floats){0});
  } else {
    const long wide = groups == 1 ? blocks : matrix->group / CODE_BLOCK; /* blocks of a group */
    for (long block = begin, group = begin / wide, next = (group + 1) * wide; block < end; block++) {
      if (block == next) group++, next += wide;
      scales[block - begin] = from_bf16(from[group]);
    }
  }
}

static inline __attribute__((always_inline)) void tiles(const Matrix *matrix, const Input *input, const Piece *piece, const int TOGETHER,
                                                        const int BITS4, const int NARROW) {
  const long step = (piece->end - piece->begin) * (NARROW ? CODE_BLOCK / matrix->group : 1) + LANES;
  float scales[(piece->to - piece->from) * step + LANES];
  ints lanes[VECTORS];
  for (int v = 0; v < VECTORS; v++)
    for (int lane = 0; lane < LANES; lane++) lanes[v][lane] = (BITS4 ? 8 * lane : 2 * (v * LANES + lane)) / (int)matrix->group;
  for (long row = piece->from; row < piece->to; row++)
    read_scales(matrix, row, piece->begin, piece->end, NARROW, scales + (row - piece->from) * step);
  for (long row = piece->from; row < piece->to; row += ROWS)
    tile(matrix, input, piece, row, scales + (row - piece->from) * step, step, lanes, TOGETHER, BITS4, NARROW);
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
  switch (piece->together) { CASE(1) CASE(2) CASE(4) CASE(8) }
}
