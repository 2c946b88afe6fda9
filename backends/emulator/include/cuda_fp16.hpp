#pragma once
#include "warploom/half.h"
