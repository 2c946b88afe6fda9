#pragma once
#include "warploom/torch_cuda.h"
