// The ops of gates.inc.
#pragma once

#include "kernels/bilinear.h"
#include "kernels/geglu.h"
#include "kernels/glu.h"
#include "kernels/reglu.h"
#include "kernels/swiglu.h"
