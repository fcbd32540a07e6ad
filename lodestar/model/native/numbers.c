/* Products of a few rows with a matrix of float32 or bfloat16 numbers, at the speed that memory can be read.

   Two neighbouring bfloat16 numbers are read as one 32-bit word: its high half, and its low half shifted up, are each a float32. So the
   input stands split into its even and odd columns, and no word of the matrix is shuffled.
   measured 2026-11: bench/RESULTS.d/speed.md. The instruction for pairs of bfloat16 (vdpbf16ps) is half as fast on Intel's cores. */

#include "matrix.h"


#define ROWS_OF(TOGETHER) ((TOGETHER) > 4 ? 2 : 4) /* so many sums as registers hold */

/* ROWS rows of a piece, from `row` on. The capitals are literals where this is called, so that the sums stay in registers. */
static inline __attribute__((always_inline)) void tile(const Matrix *matrix, const Input *input, const Piece *piece, long row,
                                                       long ahead, const int ROWS, const int TOGETHER, const int BF16) {
  const long row_bytes = matrix->columns * (BF16 ? 2 : 4), block_bytes = DENSE_BLOCK * (BF16 ? 2 : 4);
  const long whole = matrix->columns / DENSE_BLOCK;
  const char *weights = (const char *)matrix->numbers + row * row_bytes + piece->begin * block_bytes;
  const float *x = input->numbers + (piece->begin * TOGETHER) * DENSE_BLOCK;
  floats sums[LANES];
  UNROLL for (int i = 0; i < LANES; i++) sums[i] = (floats){0};
  for (long block = piece->begin; block < piece->end; block++, weights += block_bytes, x += TOGETHER * DENSE_BLOCK) {
    floats left[4], right[4];
    UNROLL for (int r = 0; r < ROWS; r++) {
      const char *from = weights + r * row_bytes;
      char last[2 * VECTOR_BYTES]; /* columns that are no whole block */
      if (block < whole) {
        __builtin_prefetch(from + ahead, 0, 2);
        if (!BF16) __builtin_prefetch(from + ahead + VECTOR_BYTES, 0, 2);
      } else {
        memset(last, 0, sizeof last);
        memcpy(last, from, row_bytes - block * block_bytes);
        from = last;
      }
      const words pairs = load_words(from);
      left[r] = (floats)(BF16 ? pairs << 16 : pairs);
      right[r] = (floats)(BF16 ? pairs & 0xffff0000u : load_words(from + VECTOR_BYTES));
    }
    UNROLL for (int n = 0; n < TOGETHER; n++) {
      const floats x_left = held(load(x + n * DENSE_BLOCK)), x_right = held(load(x + n * DENSE_BLOCK + LANES));
      UNROLL for (int r = 0; r < ROWS; r++) sums[r * TOGETHER + n] += left[r] * x_left;
      UNROLL for (int r = 0; r < ROWS; r++) sums[r * TOGETHER + n] += right[r] * x_right;
    }
  }
  floats answer[LANES]; /* a copy, so that the sums themselves can stay in registers */
  UNROLL for (int i = 0; i < ROWS * TOGETHER; i++) answer[i] = sums[i];
  add_sums(piece, row, ROWS, answer);
}

static inline __attribute__((always_inline)) void tiles(const Matrix *matrix, const Input *input, const Piece *piece, const int TOGETHER,
                                                        const int BF16) {
  const int ROWS = ROWS_OF(TOGETHER);
  const long ahead = ahead_of(piece, ROWS, matrix->columns * (BF16 ? 2 : 4));
  long row = piece->from;
  for (; row + ROWS <= piece->to; row += ROWS) tile(matrix, input, piece, row, ahead, ROWS, TOGETHER, BF16);
  for (; row < piece->to; row++) tile(matrix, input, piece, row, ahead, 1, TOGETHER, BF16);
}

#define CASE(TOGETHER)                                                          \
  case TOGETHER:                                                                \
    if (matrix->kind == BFLOAT16) tiles(matrix, input, piece, TOGETHER, 1);     \
    else tiles(matrix, input, piece, TOGETHER, 0);                              \
    break;

void multiply_numbers(const Matrix *matrix, const Input *input, const Piece *piece) {
  switch (piece->together) { CASE(1) CASE(2) CASE(4) CASE(8) }
}
