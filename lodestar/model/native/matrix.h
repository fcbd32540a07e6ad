/* A matrix of weights as it lies in memory, and the few rows of input that meet it. Row by row: y = weight · x + bias. */

#include "vectors.h"

typedef enum { FLOAT32, BFLOAT16, INT8, INT4, NF4 } Kind;

/* Whether the products with a kind of matrix are of numbers; else they are of codes. */
static inline int takes_numbers(int kind) { return kind != INT8 && kind != INT4; }

/* `Matrix` of library.py. The meaning of the codes is that of lodestar/model/quantized.py. */
typedef struct {
  const void *numbers;    /* (rows, columns) float32, bfloat16 or codes; of 4 bits, two in a byte, the even column in its low half */
  const uint16_t *scales; /* of codes: bfloat16 (rows, columns / group) */
  const void *bias;       /* (rows) float32 or bfloat16, or NULL */
  long rows, columns, group;
  int kind, bias_bf16;
} Matrix;

#define DENSE_BLOCK 32 /* columns taken together by the products of numbers: two vectors of float32, or one of bfloat16 pairs */
#define CODE_BLOCK 128 /* and by those of codes: as many inputs share a scale */
#define MOST_TOGETHER 8 /* rows of input that share one reading of a row of the matrix */

/* Rows of input in the form that a kind of matrix wants. They stand in parts of MOST_TOGETHER rows, the last part of 1, 2, 4 or as many, with
   zeros where there is no row; within a part, block after block, and within a block, row after row: what one step of a product reads lies
   side by side. */
typedef struct {
  long batch, blocks;
  const float *numbers; /* for a matrix of numbers: DENSE_BLOCK a row and block; for bfloat16 the even columns, then the odd */
  const int16_t *codes; /* for a matrix of codes: CODE_BLOCK a row and block, of 15 bits and a sign */
  const float *scales;  /* what they are multiplied by, one a row and block */
  const ints *offsets;  /* for 4 bits: minus 8 times the sum of each lane's codes, one vector a row and block */
} Input;

/* Some rows of a matrix, some rows of input, some columns: the piece of a product that is computed in one go, and added to y. */
typedef struct {
  long from, to;       /* rows of the matrix */
  int together;        /* rows of input from it on, those of zeros counted */
  int there;           /* and not counted */
  long begin, end;     /* blocks of columns */
  float *y;            /* of the first row of input */
  long step;           /* from the y of one row of input to the next */
  long rows_ahead;     /* the matrix is asked for so many rows before it is needed, or a few more */
} Piece;

#define AHEAD 4096 /* bytes, at least, between what is read of the matrix and what is asked for */

/* Bytes from a place in the matrix to that which is asked for meanwhile, where `rows` rows are read at a time: the same columns of rows that
   come later, so that each line is asked for once, whatever a row's width. It goes to the second cache: the first one is the input's.
   The processor's own prefetcher stops at every page of 4096 bytes, and a row is often shorter than that. */
static inline long ahead_of(const Piece *piece, long rows, long row_bytes) {
  const long turn = (piece->rows_ahead > rows ? piece->rows_ahead : rows) * row_bytes;
  return (AHEAD + turn - 1) / turn * turn;
}

#define IN_TURN 16 /* rows of the matrix that meet the same part of the input, where it has several */

/* Add to y what the lanes of each sum come to; sums[r · together + n] is that of matrix row row + r with input row n. Not inlined, where it
   would be compiled dozens of times. */
void add_sums(const Piece *piece, long row, int rows, const floats sums[LANES]);

/* Bytes that `prepare` needs at most. */
long input_bytes(long batch, long columns);

/* The rows of input that a part takes, of which so many are there. */
long padded_rows(long rows);

/* Where the rows of input begin that are thread `part`'s to prepare: whole parts of MOST_TOGETHER. */
long part_of_rows(long batch, long part, long parts);

/* Bring the rows from `from` up to `stop` of x (batch, columns), which begin `step` numbers apart, into the form for matrices of a kind; in
   `memory`, on a vector's border. `from` is a multiple of MOST_TOGETHER. */
Input prepare(const float *x, long step, long batch, long columns, int kind, void *memory, long from, long stop);

/* y[b · step + o] = bias[o] + Σ weight[o, i] · x[b, i] for the matrix rows o from `from` up to `to`. */
void multiply(const Matrix *matrix, const Input *input, long from, long to, float *y, long step);

/* The same for more rows of input. */
void multiply_panels(const Matrix *matrix, const Input *input, long from, long to, float *y, long step);

/* One piece of it, for MOST_TOGETHER rows of input at most; of codes, for two. */
void multiply_numbers(const Matrix *matrix, const Input *input, const Piece *piece);
void multiply_codes(const Matrix *matrix, const Input *input, const Piece *piece);
