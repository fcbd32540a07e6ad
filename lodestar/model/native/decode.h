/* One token a row through all layers of a decoder: what lodestar/model/fast.py describes, and decode.c runs. Each struct is one of structures.py. */

#include "matrix.h"

typedef enum { NO_NORM, RMS_NORM, LAYER_NORM } NormKind;
typedef enum { PRE, POST, SANDWICH, OUTPUT } NormPlace;
typedef enum { GELU, GELU_TANH, QUICK_GELU, RELU, RELU2, SILU } Activation;

typedef struct {
  const void *weight, *bias; /* float32 or bfloat16; a bias may be NULL */
  float epsilon;
  int kind, bf16;
} Norm;

typedef struct {
  Norm attention_norm, attention_output_norm, feed_forward_norm, feed_forward_output_norm;
  Norm query_norm, key_norm;
  Norm cross_norm, cross_output_norm, cross_query_norm;
  Matrix query, key, value, output;
  Matrix cross_query, cross_output; /* cross_query.numbers is NULL where there is no source */
  Matrix gate, up, down;            /* gate.numbers is NULL where there is none */
  void *keys, *values;              /* of the cache: (row, key_value_heads, capacity, head_width) */
  const void *cross_keys, *cross_values; /* of the sources: (source, key_value_heads, source_capacity, head_width) */
  long window;           /* tokens that are seen, this one included; 0 for all */
  int table;             /* which rotary table; -1 for none */
} Layer;

typedef struct {
  const Layer *layers;
  Norm norm;   /* the last one */
  Matrix head; /* hidden states to logits */
  long depth, width, heads, key_value_heads, head_width, rotary_width, capacity, source_capacity;
  float attention_scale, attention_cap, output_scale; /* a cap of 0 is none */
  int norm_place, activation, norm_over_all, cache_bf16;
} Model;

typedef struct {
  const float *embedded;      /* (batch, width) */
  float *logits;              /* (batch, vocabulary) */
  const int64_t *first_keys;  /* (batch): tokens before it are padding */
  const int32_t *slots;       /* (batch, capacity): the row of the cache that holds each token before; NULL where it is the row itself */
  const int64_t *sources;     /* (batch): which source a row reads */
  const int64_t *source_lengths; /* (source): tokens of it */
  const float *cos[2], *sin[2]; /* (batch or 1, rotary_width / 2) of each table */
  long batch, length;         /* rows; tokens in the cache */
  long table_step;            /* 0 where all rows have the same position */
} Step;

/* y = norm(x), of `width` numbers. */
void apply_norm(const Norm *norm, const float *x, long width, float *y);

/* x = activation(x), or activation(x) · by where that is given, for `count` numbers. */
void activate(int activation, float *x, const float *by, long count);

/* Bytes of scratch that the attention of one head needs. */
long attention_bytes(const Model *model, const Step *step);

/* One head of one row: bring its query, key and value into their final form, keep key and value, and mix what the query sees.
   projected: (queries, keys, values) of the row. mixed: the head's part of the answer. */
void attend(const Model *model, const Layer *layer, const Step *step, long row, long head, const float *projected, float *mixed,
            char *scratch);

/* The same over the source. queries: of all heads of the row. */
void attend_source(const Model *model, const Layer *layer, const Step *step, long row, long head, const float *queries, float *mixed,
                   char *scratch);
