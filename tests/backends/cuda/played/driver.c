/* A CUDA driver without a GPU, for the real cuda.bindings to call: comes in as libcuda.so.1, gives `played()`, a text of what was asked for.
   A thread has no context until it enters one, as with NVIDIA's; a launch that a GPU refuses is refused. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { INVALID_VALUE = 1, INVALID_IMAGE = 200, INVALID_CONTEXT = 201, NOT_FOUND = 500, MAX_DYNAMIC = 8 };
typedef struct { char name[64]; int most; } Function;

static char text[1 << 16];
static int newest = 13000;
static __thread void* current;

const char* played(void) { return text; }
void play_version(int version) { newest = version; }

int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int* version) { *version = newest; return 0; }
int cuDeviceGet(int* device, int number) { *device = number; return 0; }
int cuDevicePrimaryCtxRetain(void** context, int device) { *context = (void*)(long)(device + 1); return 0; }
int cuCtxSetCurrent(void* context) { current = context; return 0; }

int cuModuleLoadData(void** module, const void* image) {
    *module = (void*)image;
    return !current ? INVALID_CONTEXT : newest < 13000 ? INVALID_IMAGE : 0;
}

int cuModuleGetFunction(void** function, void* module, const char* name) {
    Function* f = calloc(1, sizeof *f);
    strncpy(f->name, name, sizeof f->name - 1);
    f->most = 48 << 10;
    *function = f;
    return 0;
}

int cuFuncGetAttribute(int* value, int attribute, Function* f) { *value = f->most; return attribute == MAX_DYNAMIC ? 0 : INVALID_VALUE; }
int cuFuncSetAttribute(Function* f, int attribute, int value) { f->most = value; return attribute == MAX_DYNAMIC ? 0 : INVALID_VALUE; }

int cuLaunchKernel(Function* f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz, unsigned shared, void* stream, void** values, void** extra) {
    if (!current) return INVALID_CONTEXT;
    if (!gx || !gy || !gz || !bx || !by || !bz || (int)shared > f->most) return INVALID_VALUE;
    char* end = text + strlen(text);
    end += sprintf(end, "%s<<<%u %u %u, %u, %u, %ld>>> in %ld: ", f->name, gx, gy, gz, bx * by * bz, shared, (long)stream, (long)current);
    for (const char* kind = strchr(f->name, '_') + 1; *kind; kind++, values++)  /* i: int, l: long long, p: a pointer; the name says them in order */
        end += *kind == 'i' ? sprintf(end, "%d ", *(int*)*values) : sprintf(end, "%ld ", *(long*)*values);
    strcpy(end, "\n");
    return 0;
}

int cuGetProcAddress_v2(const char* name, void** address, int version, unsigned long flags, int* found) {
    static const struct { const char* name; void* address; } all[] = {
        {"cuGetProcAddress", (void*)cuGetProcAddress_v2}, {"cuInit", (void*)cuInit}, {"cuDriverGetVersion", (void*)cuDriverGetVersion},
        {"cuDeviceGet", (void*)cuDeviceGet}, {"cuDevicePrimaryCtxRetain", (void*)cuDevicePrimaryCtxRetain}, {"cuCtxSetCurrent", (void*)cuCtxSetCurrent},
        {"cuModuleLoadData", (void*)cuModuleLoadData}, {"cuModuleGetFunction", (void*)cuModuleGetFunction},
        {"cuFuncGetAttribute", (void*)cuFuncGetAttribute}, {"cuFuncSetAttribute", (void*)cuFuncSetAttribute}, {"cuLaunchKernel", (void*)cuLaunchKernel},
    };
    *address = 0;
    if (found) *found = 0;
    for (unsigned k = 0; k < sizeof all / sizeof *all; k++)
        if (!strcmp(all[k].name, name)) *address = all[k].address;
    return *address ? 0 : NOT_FOUND;
}
