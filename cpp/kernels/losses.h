// The ops of losses.inc.
#pragma once

#include "kernels/class_losses.h"
