#pragma once
#include "warploom/cub.h"
