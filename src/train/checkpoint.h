/* checkpoint.h - parameters as a Hugging Face folder. */
#ifndef QK_TRAIN_CHECKPOINT_H
#define QK_TRAIN_CHECKPOINT_H

#include "train/train.h"

/* Into `folder` (made where it is not): model.safetensors in `dtype` (F32 or BF16; a tied unembedding is not written),
 * config.json of parameters->model's configuration, and the tokenizer's files that lie beside parameters->source.  Each
 * file is written beside its place, flushed to the disk and renamed; config.json comes last.  Other files stay. */
qk_status qk_checkpoint_write(const char *folder, const qk_parameters *parameters, qk_dtype dtype, qk_error *err);

#endif
