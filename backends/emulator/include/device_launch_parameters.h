#pragma once
#include "warploom/emulator.h"
