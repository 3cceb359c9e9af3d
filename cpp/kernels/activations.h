// The ops of activations.inc.
#pragma once

#include "kernels/copy.h"
#include "kernels/gelu.h"
