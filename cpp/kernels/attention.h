// The ops of attention.inc.
#pragma once

#include "kernels/attention_backward.h"
#include "kernels/attention_forward.h"
