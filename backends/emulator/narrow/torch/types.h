#pragma once
#include "../warploom/narrow_torch.h"
