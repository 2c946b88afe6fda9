// The common case of `screen::observe` in place of the compiler's calls. Comes in: `call __tsan_read4@PLT` and its like in the assembly of a
// unit, which the compiler adds after all inlining. Goes out: a few instructions in place; whatever they do not settle takes the call.
//
// A call and its return cost more than what has to be done. The compiler cannot inline here, the assembler can: from here on, `call` is a
// macro. At a call every register that a call may change is free, and %rdi has the address. The address is aligned: -fsanitize=alignment has
// looked, or nothing in the source could make it otherwise. Numbers are the layout of `Slot`, asserted below.
#pragma once
#include <cstddef>

namespace wl {
namespace screen {
static_assert(kSlotBits == 36 && kSlots == 256 && sizeof(Slot) == 128 && sizeof(State) == 4);
static_assert(offsetof(Slot, base) == 0 && offsetof(Slot, only_read) == 8);
static_assert(offsetof(Slot, bytes4) == 48 && offsetof(Slot, words4) == 56 && offsetof(Slot, bytes16) == 64 && offsetof(Slot, words16) == 72);
static_assert(offsetof(Slot, fresh) == 80);
}  // namespace screen
}  // namespace wl

#ifdef __BMI2__
#define WL_SLOT_OF "rorx $29, %rdi, %rcx"
#else
#define WL_SLOT_OF "movq %rdi, %rcx\n shrq $29, %rcx"
#endif

asm(R"(
# (%rax, %rcx): the buffer's slot; %rdx: the offset in the buffer
.macro wl_slot
  )" WL_SLOT_OF R"(
  leaq _ZN2wl6screen5slotsE(%rip), %rax
  andl $0x7f80, %ecx
  movq %rdi, %rdx
  subq (%rax, %rcx), %rdx
.endm

# %rdx: the address of the access's word, %esi: what it holds
.macro wl_word4
  movq 56(%rax, %rcx), %rdx
  addq %rdi, %rdx
  movl (%rdx), %esi
.endm
.macro wl_word16
  shrq $2, %rdx
  addq 72(%rax, %rcx), %rdx
  movl (%rdx), %esi
.endm

# of a buffer that is only read: its bounds; `limit` is 0 for others
.macro wl_read bytes, limit
  wl_slot
  cmpq \limit(%rax, %rcx), %rdx
  jae 903f
902:
  .subsection 1
903:
  callq __tsan_read\bytes
  jmp 902b
  .previous
.endm

.macro wl_read_either bytes, limit, written
  wl_slot
  cmpq \limit(%rax, %rcx), %rdx
  jae 901f
902:
  .subsection 1
901:
  cmpq \written(%rax, %rcx), %rdx
  jae 903f
  wl_word\bytes
  cmpl _ZN2wl6screen6launchE(%rip), %esi
  jae 905f
  testl %esi, %esi
  jne 904f
  cmpb $0, 80(%rax, %rcx)
  jne 903f
904:
  movl _ZN2wl6screen2meE(%rip), %ecx
  orl $1, %ecx
  movl %ecx, (%rdx)
  jmp 902b
905:
  xorl _ZN2wl6screen2meE(%rip), %esi
  cmpl $2, %esi
  jb 902b
903:
  callq __tsan_read\bytes
  jmp 902b
  .previous
.endm

.macro wl_write bytes, limit
  wl_slot
  cmpq \limit(%rax, %rcx), %rdx
  jae 903f
  wl_word\bytes
  movl _ZN2wl6screen2meE(%rip), %ecx
  cmpl _ZN2wl6screen6launchE(%rip), %esi
  jae 901f
902:
  movl %ecx, (%rdx)
904:
  .subsection 1
901:
  xorl %ecx, %esi
  cmpl $2, %esi
  jb 902b
903:
  callq __tsan_write\bytes
  jmp 904b
  .previous
.endm

.macro call target:vararg
  .ifc \target,__tsan_read4@PLT
    wl_read_either 4, 24, 48
  .else
  .ifc \target,__tsan_read16@PLT
    wl_read_either 16, 40, 64
  .else
  .ifc \target,__tsan_write4@PLT
    wl_write 4, 48
  .else
  .ifc \target,__tsan_write16@PLT
    wl_write 16, 64
  .else
  .ifc \target,__tsan_read8@PLT
    wl_read 8, 32
  .else
  .ifc \target,__tsan_read2@PLT
    wl_read 2, 16
  .else
  .ifc \target,__tsan_read1@PLT
    wl_read 1, 8
  .else
    callq \target
  .endif
  .endif
  .endif
  .endif
  .endif
  .endif
  .endif
.endm
)");
