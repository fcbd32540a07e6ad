/* Products of more than a few rows of input, such as a prompt's: a part of the matrix is brought into the form of a panel, in the core's
   first cache, and all rows of input meet it there.

   A panel is ROWS rows of the matrix, turned: what stands side by side belongs to one column (of numbers), or to a pair of them (of codes, as
   whole numbers of 16 bits), for all the rows. So a lane is a row, no sum is ever added across lanes, and the input is read number by number.
   measured 2026-11: bench/RESULTS.d/speed.md.

   The matrix is read in units of 32 bits a row: 4 codes of 8 bits, 8 of 4, 2 bfloat16 numbers or one float32; a unit becomes as many steps
   of the product as `steps_of` says. Codes whose levels are no whole numbers (nf4) become the numbers that they mean. */

#include "matrix.h"

#define ROWS 32
#define HALVES 2         /* vectors of rows in a panel */
#define CHUNK_BYTES 256  /* of each row that make one panel, or half as many of nf4, which become the most numbers */
#define PIECE_UNITS (VECTOR_BYTES / 4)
#define MOST_STEPS CHUNK_BYTES
#define PAST 32          /* groups that a chunk of nf4 may reach past the columns that are there */
#define HELD_ROWS 256    /* of input whose sums are held */

typedef int16_t shorts __attribute__((vector_size(VECTOR_BYTES)));

/* 64 bytes of each of 16 rows, turned: units[u] holds the u-th unit of all. */
#ifdef __AVX512F__
static inline __attribute__((always_inline)) void turn(const char *from, long row_bytes, ints units[PIECE_UNITS]) {
  UNROLL for (int quarter = 0; quarter < 4; quarter++) {
    __m512i four[4]; /* of rows r, r + 4, r + 8, r + 12: 16 bytes each */
    UNROLL for (int r = 0; r < 4; r++) {
      const char *row = from + r * row_bytes + 16 * quarter;
      four[r] = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)row));
      four[r] = _mm512_inserti32x4(four[r], _mm_loadu_si128((const __m128i *)(row + 4 * row_bytes)), 1);
      four[r] = _mm512_inserti32x4(four[r], _mm_loadu_si128((const __m128i *)(row + 8 * row_bytes)), 2);
      four[r] = _mm512_inserti32x4(four[r], _mm_loadu_si128((const __m128i *)(row + 12 * row_bytes)), 3);
    }
    const __m512i low_01 = _mm512_unpacklo_epi32(four[0], four[1]), low_23 = _mm512_unpacklo_epi32(four[2], four[3]);
    const __m512i high_01 = _mm512_unpackhi_epi32(four[0], four[1]), high_23 = _mm512_unpackhi_epi32(four[2], four[3]);
    units[4 * quarter] = (ints)_mm512_unpacklo_epi64(low_01, low_23);
    units[4 * quarter + 1] = (ints)_mm512_unpackhi_epi64(low_01, low_23);
    units[4 * quarter + 2] = (ints)_mm512_unpacklo_epi64(high_01, high_23);
    units[4 * quarter + 3] = (ints)_mm512_unpackhi_epi64(high_01, high_23);
  }
}
#else
static __attribute__((noinline)) void turn(const char *from, long row_bytes, ints units[PIECE_UNITS]) {
  for (int r = 0; r < LANES; r++) {
    int32_t row[PIECE_UNITS];
    memcpy(row, from + r * row_bytes, sizeof row);
    for (int u = 0; u < PIECE_UNITS; u++) units[u][r] = row[u];
  }
}
#endif

/* The same where only `rows` rows or `bytes` bytes are there: zeros for the others. */
static inline __attribute__((always_inline)) void turn_some(const char *from, long row_bytes, long rows, long bytes, ints units[PIECE_UNITS]) {
  if (__builtin_expect(rows >= LANES && bytes >= VECTOR_BYTES, 1)) {
    turn(from, row_bytes, units);
    return;
  }
  char there[LANES * VECTOR_BYTES];
  memset(there, 0, sizeof there);
  if (bytes > 0)
    for (long r = 0; r < rows && r < LANES; r++) memcpy(there + r * VECTOR_BYTES, from + r * row_bytes, bytes < VECTOR_BYTES ? bytes : VECTOR_BYTES);
  turn(there, VECTOR_BYTES, units);
}

/* Steps that a unit becomes. */
static inline __attribute__((always_inline)) int steps_of(const int KIND) { return KIND == NF4 ? 8 : KIND == INT4 ? 4 : KIND == FLOAT32 ? 1 : 2; }

/* Where in a block of input the number or pair of a step stands; `unit` counts within the block. */
static inline __attribute__((always_inline)) int place_of(int unit, int step, const int KIND) {
  return KIND == INT4 || KIND == BFLOAT16 ? step * PIECE_UNITS + unit : unit * steps_of(KIND) + step;
}

/* A step's part of a unit, of each row. */
static inline __attribute__((always_inline)) ints part_of(ints unit, int step, const int KIND) {
  if (KIND == INT4) return (ints)((shorts)(unit >> 4 * step & 0x000f000f) - (short)8);
  if (KIND == INT8) return (ints)(step == 0 ? (shorts)unit << 8 >> 8 : (shorts)unit >> 8); /* columns 0 and 2; 1 and 3 */
  if (KIND == BFLOAT16) return step == 0 ? unit << 16 : unit & (ints)((words){0} + 0xffff0000u);
  return unit;
}

/* Levels of nf4. Dettmers et al. 2023, https://arxiv.org/abs/2305.14314, appendix E. */
static const float NF4_LEVELS[LANES] = {-1.0f, -0.6961928f, -0.52507305f, -0.39491749f, -0.28444138f, -0.18477343f, -0.09105004f, 0.0f,
                                        0.07958030f, 0.16093020f, 0.24611230f, 0.33791524f, 0.44070983f, 0.56261700f, 0.72295684f, 1.0f};

/* `rows` rows from `from` on, `bytes` of each and zeros up to `padded`, as a panel: (unit, step, row).
   scales: where the panel is to hold the numbers that codes mean, (group, row), of `group` columns each; it begins with that `column`. */
static inline __attribute__((always_inline)) void make_panel(const char *from, long row_bytes, long rows, long bytes, long padded, ints *panel,
                                                             const floats *scales, long group, long column, const int KIND) {
  const int STEPS = steps_of(KIND);
  for (long piece = 0; piece * VECTOR_BYTES < padded; piece++)
    for (int half = 0; half < HALVES; half++) {
      ints units[PIECE_UNITS];
      turn_some(from + half * LANES * row_bytes + piece * VECTOR_BYTES, row_bytes, rows - half * LANES, bytes - piece * VECTOR_BYTES, units);
      ints *to = panel + piece * PIECE_UNITS * STEPS * HALVES + half;
      UNROLL for (int u = 0; u < PIECE_UNITS; u++) {
        const floats scale = KIND == NF4 ? scales[(column + (piece * PIECE_UNITS + u) * STEPS) / group * HALVES + half] : (floats){0};
        UNROLL for (int step = 0; step < STEPS; step++)
          to[(u * STEPS + step) * HALVES] =
              KIND == NF4 ? (ints)(pick(NF4_LEVELS, units[u] >> 4 * step & 15) * scale) : part_of(units[u], step, KIND);
      }
    }
}

/* The scales of `rows` rows: (group, row). */
static void turn_scales(const Matrix *matrix, long row, long rows, floats *scales) {
  const long groups = matrix->columns / matrix->group, bytes = groups * sizeof(uint16_t);
  const char *from = (const char *)(matrix->scales + row * groups);
  for (long at = 0; at < bytes; at += VECTOR_BYTES)
    for (int half = 0; half < HALVES; half++) {
      ints units[PIECE_UNITS];
      turn_some(from + half * LANES * bytes + at, bytes, rows - half * LANES, bytes - at, units);
      for (long u = 0; u < PIECE_UNITS && at + 4 * u < bytes; u++) {
        const long group = at / 2 + 2 * u;
        scales[group * HALVES + half] = (floats)part_of(units[u], 0, BFLOAT16);
        scales[(group + 1) * HALVES + half] = (floats)part_of(units[u], 1, BFLOAT16); /* there is room for one too many */
      }
    }
}

/* What a tile needs to know of the chunk that it meets. */
typedef struct {
  const ints *panel;
  const floats *scales;      /* (group, row) of the panel's rows */
  long block, blocks;        /* the first one, and how many */
  long group;                /* columns */
  const char *next;          /* the chunk that comes after it, to be asked for */
  long row_bytes;
  int lines;                 /* of that, which a unit asks for; 0 where that is done */
} Chunk;

static inline __attribute__((always_inline)) void ask_for(const Chunk *chunk, long unit) {
  for (unsigned long line = unit * chunk->lines; line < (unit + 1ul) * chunk->lines; line++)
    __builtin_prefetch(chunk->next + line % ROWS * chunk->row_bytes + line / ROWS * VECTOR_BYTES, 0, 2);
}

/* Add to y (TOGETHER, ROWS) what a chunk of codes makes of TOGETHER rows of input. The capitals are literals where this is called.
   x, x_scales: from the chunk's first block on. */
static inline __attribute__((always_inline)) void tile_of_codes(const Chunk *chunk, const int16_t *x, const float *x_scales, float *y,
                                                                const int TOGETHER, const int KIND) {
  const int STEPS = steps_of(KIND), BLOCK_UNITS = KIND == INT4 ? 16 : 32;
  const long in_group = chunk->group < CODE_BLOCK ? BLOCK_UNITS * chunk->group / CODE_BLOCK : BLOCK_UNITS; /* units that share a scale here */
  const ints *panel = chunk->panel;
  for (long block = 0; block < chunk->blocks; block++, x += TOGETHER * CODE_BLOCK, x_scales += TOGETHER)
    for (long first = 0; first < BLOCK_UNITS; first += in_group) {
      ints sums[HALVES * MOST_TOGETHER]; /* of a size that the compiler knows, or it keeps them in memory */
      UNROLL for (int i = 0; i < HALVES * TOGETHER; i++) sums[i] = (ints){0};
      for (long unit = first; unit < first + in_group; unit++, panel += STEPS * HALVES) {
        ask_for(chunk, block * BLOCK_UNITS + unit);
        UNROLL for (int s = 0; s < STEPS; s++) {
          const ints upper = panel[s * HALVES], lower = panel[s * HALVES + 1];
          const int16_t *at = x + 2 * place_of(unit, s, KIND);
          UNROLL for (int n = 0; n < TOGETHER; n++) {
            int32_t pair;
            memcpy(&pair, at + n * CODE_BLOCK, sizeof pair);
            const ints pairs = everywhere(pair);
            sums[2 * n] = add_products(sums[2 * n], upper, pairs);
            sums[2 * n + 1] = add_products(sums[2 * n + 1], lower, pairs);
          }
        }
      }
      const floats *scales = chunk->scales + ((chunk->block + block) * CODE_BLOCK + first * CODE_BLOCK / BLOCK_UNITS) / chunk->group * HALVES;
      UNROLL for (int n = 0; n < TOGETHER; n++)
        UNROLL for (int half = 0; half < HALVES; half++) {
          float *to = y + n * ROWS + half * LANES;
          store(to, load(to) + __builtin_convertvector(sums[2 * n + half], floats) * (scales[half] * x_scales[n]));
        }
    }
}

/* The same of numbers. */
static inline __attribute__((always_inline)) void tile_of_numbers(const Chunk *chunk, const float *x, float *y, const int TOGETHER,
                                                                  const int KIND) {
  const int STEPS = steps_of(KIND), BLOCK_UNITS = DENSE_BLOCK / STEPS;
  const floats *panel = (const floats *)chunk->panel;
  floats sums[HALVES * MOST_TOGETHER];
  UNROLL for (int n = 0; n < TOGETHER; n++)
    UNROLL for (int half = 0; half < HALVES; half++) sums[2 * n + half] = load(y + n * ROWS + half * LANES);
  for (long block = 0; block < chunk->blocks; block++, x += TOGETHER * DENSE_BLOCK)
    for (long unit = 0; unit < BLOCK_UNITS; unit++, panel += STEPS * HALVES) {
      ask_for(chunk, block * BLOCK_UNITS + unit);
      UNROLL for (int s = 0; s < STEPS; s++) {
        const floats upper = panel[s * HALVES], lower = panel[s * HALVES + 1];
        const float *at = x + place_of(unit, s, KIND);
        UNROLL for (int n = 0; n < TOGETHER; n++) {
          const floats number = everywhere_float(at[n * DENSE_BLOCK]);
          sums[2 * n] += upper * number;
          sums[2 * n + 1] += lower * number;
        }
      }
    }
  UNROLL for (int n = 0; n < TOGETHER; n++)
    UNROLL for (int half = 0; half < HALVES; half++) store(y + n * ROWS + half * LANES, sums[2 * n + half]);
}

/* Some rows of input, from `first` on, as many as a part has. */
static inline __attribute__((always_inline)) void tile(const Chunk *chunk, const Input *input, long first, long together, float *y, const int KIND) {
  const int dense = takes_numbers(KIND);
  const long before = first * input->blocks + chunk->block * together;
  const float *numbers = dense ? input->numbers + before * DENSE_BLOCK : NULL, *scales = dense ? NULL : input->scales + before;
  const int16_t *codes = dense ? NULL : input->codes + before * CODE_BLOCK;
#define TILE(TOGETHER)                                              \
  case TOGETHER:                                                    \
    if (dense) tile_of_numbers(chunk, numbers, y, TOGETHER, KIND);  \
    else tile_of_codes(chunk, codes, scales, y, TOGETHER, KIND);    \
    break;
  switch (together) { TILE(1) TILE(2) TILE(4) TILE(8) }
}

/* Some rows of input, from `first` up to `last`, and all columns. The sums stay in one place until all columns have met: those of the answer are
   far apart, and of many rows not in the second cache. */
static inline __attribute__((always_inline)) void panels(const Matrix *matrix, const Input *input, long first, long last, long from, long to,
                                                         float *y, long step, const int KIND) {
  const int dense = takes_numbers(KIND);
  const long bits = KIND == FLOAT32 ? 32 : KIND == BFLOAT16 ? 16 : KIND == INT8 ? 8 : 4, row_bytes = matrix->columns * bits / 8;
  const long block = dense ? DENSE_BLOCK : CODE_BLOCK, block_bytes = block * bits / 8;
  const long chunk_bytes = KIND == NF4 ? CHUNK_BYTES / 2 : CHUNK_BYTES, chunk_blocks = chunk_bytes / block_bytes;
  const long group = matrix->group == matrix->columns ? input->blocks * block : matrix->group; /* of a whole row: whatever its width */
  const long groups = matrix->scales == NULL ? 0 : input->blocks * block / group;
  ints panel[MOST_STEPS * HALVES];
  floats scales[(groups + 1 + PAST) * HALVES];
  memset(scales, 0, sizeof scales); /* of columns that are not there, too */
  float sums[HELD_ROWS * ROWS];
  for (long row = from; row < to; row += ROWS) {
    const long rows = to - row < ROWS ? to - row : ROWS;
    float biases[ROWS] = {0};
    if (matrix->bias != NULL) widen(matrix->bias, row, rows, matrix->bias_bf16, biases);
    for (long n = 0; n < last - first; n++) memcpy(sums + n * ROWS, biases, sizeof biases);
    if (matrix->scales != NULL) turn_scales(matrix, row, rows, scales);
    const char *start = (const char *)matrix->numbers + row * row_bytes;
    for (long begin = 0; begin < input->blocks; begin += chunk_blocks) {
      const long left = input->blocks - begin, at = begin / chunk_blocks * chunk_bytes;
      Chunk chunk = {panel, scales, begin, left < chunk_blocks ? left : chunk_blocks, group,
                     left > chunk_blocks ? start + at + chunk_bytes : start + ROWS * row_bytes, row_bytes, 0};
      chunk.lines = ROWS * chunk_bytes / VECTOR_BYTES * 4 / (chunk.blocks * block_bytes);
      make_panel(start + at, row_bytes, rows, row_bytes - at, chunk.blocks * block_bytes, panel, scales, group, begin * block, KIND);
      for (long n = first; n < last; n += MOST_TOGETHER) {
        tile(&chunk, input, n, input->batch - n < MOST_TOGETHER ? padded_rows(input->batch - n) : MOST_TOGETHER, sums + (n - first) * ROWS, KIND);
        chunk.lines = 0;
      }
    }
    for (long n = first; n < last; n++) memcpy(y + n * step + row, sums + (n - first) * ROWS, rows * sizeof *y);
  }
}

void multiply_panels(const Matrix *matrix, const Input *input, long from, long to, float *y, long step) {
  for (long first = 0; first < input->batch; first += HELD_ROWS) {
    const long last = input->batch - first < HELD_ROWS ? input->batch : first + HELD_ROWS;
    switch (matrix->kind) {
      case FLOAT32: panels(matrix, input, first, last, from, to, y, step, FLOAT32); break;
      case BFLOAT16: panels(matrix, input, first, last, from, to, y, step, BFLOAT16); break;
      case INT8: panels(matrix, input, first, last, from, to, y, step, INT8); break;
      case INT4: panels(matrix, input, first, last, from, to, y, step, INT4); break;
      default: panels(matrix, input, first, last, from, to, y, step, NF4);
    }
  }
}
