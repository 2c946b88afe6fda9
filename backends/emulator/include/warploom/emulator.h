// CUDA on a CPU: included before a rewritten CUDA source, this header makes it C++.
#pragma once
#include <cfloat>
#include <climits>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "vector_types.h"

#include "block.h"
#include "screen.h"
#include "lockstep.h"
#include "launch.h"
#include "warp.h"
#include "atomics.h"
#include "math.h"
#include "host_api.h"
#include "device_io.h"
#include "arguments.h"
#include "qualifiers.h"
#ifdef WL_TENSOR
#include "tensor.h"
#endif
