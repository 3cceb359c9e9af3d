// The ops of embeddings.inc.
#pragma once

#include "kernels/embedding_sum.h"
