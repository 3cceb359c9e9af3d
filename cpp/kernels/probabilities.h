// The kernels over rows of probabilities. Included once per target.
#pragma once

#include "kernels/log_softmax.h"
#include "kernels/softmax.h"
