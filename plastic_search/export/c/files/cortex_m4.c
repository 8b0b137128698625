/* A network on a Cortex-M4: where the processor starts, and a check of the network by semihosting, under QEMU or a
   debugger. It reads inputs from the file `inputs`, and writes to `outputs`: the saved state at the start; of each step the
   outputs, the saved state, and the ticks of the processor's timer; the deepest stack. For a device, replace `main`. */
#include <stdint.h>

#include "network.h"

extern uint32_t stack_start[], stack_end[], data_start[], data_end[], data_stored[], bss_start[], bss_end[];
int main(void);
void reset(void);

#define FRESH 0xA5A5A5A5u /* what the stack holds where nothing was */
#define TIMER ((volatile uint32_t *)0xE000E010u) /* SysTick: control, start, count, which goes down */

static int32_t host(int32_t what, const void *with) { /* a call of the host */
    register int32_t r0 __asm__("r0") = what;
    register const void *r1 __asm__("r1") = with;
    __asm__ volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static int32_t opened(const char *file, uint32_t mode, uint32_t length) {
    const uint32_t with[3] = {(uint32_t)(uintptr_t)file, mode, length};
    return host(1, with);
}

static uint32_t moved(int32_t what, int32_t file, const void *bytes, uint32_t count) { /* how many were not moved */
    const uint32_t with[3] = {(uint32_t)file, (uint32_t)(uintptr_t)bytes, count};
    return (uint32_t)host(what, with);
}

static void leave(uint32_t code) {
    const uint32_t with[2] = {0x20026u, code};
    host(0x20, with);
    for (;;) {}
}

static void fault(void) { leave(9); }

void reset(void) {
    for (volatile uint32_t *at = stack_start, *here = (uint32_t *)__builtin_frame_address(0) - 16; at < here;) *at++ = FRESH;
    for (uint32_t *to = data_start, *from = data_stored; to < data_end;) *to++ = *from++;
    for (uint32_t *to = bss_start; to < bss_end;) *to++ = 0;
    leave((uint32_t)main());
}

__attribute__((section(".vectors"), used)) static const struct {
    uint32_t *stack;
    void (*handlers[15])(void);
} vectors = {stack_end, {reset, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, fault}};

static network_state state;
static network_number input[NETWORK_INPUTS], output[NETWORK_OUTPUTS];
static unsigned char saved[NETWORK_SAVED] __attribute__((section(".check")));

int main(void) {
    const int32_t from = opened("inputs", 1, 6), to = opened("outputs", 5, 7); /* rb, wb */
    if (from < 0 || to < 0) return 2;
    TIMER[1] = 0xFFFFFFu;
    TIMER[2] = 0;
    TIMER[0] = 5; /* on, by the processor's clock */
    network_init(&state);
    network_save(&state, saved);
    if (moved(5, to, saved, NETWORK_SAVED)) return 3;
    while (!moved(6, from, input, sizeof input)) {
        const uint32_t before = TIMER[2];
        network_step(&state, input, output);
        const uint32_t ticks = (before - TIMER[2]) & 0xFFFFFFu;
        network_save(&state, saved);
        if (network_restore(&state, saved)) return 4;
        if (moved(5, to, output, sizeof output) || moved(5, to, saved, NETWORK_SAVED) || moved(5, to, &ticks, 4)) return 3;
    }
    const uint32_t *at = stack_start;
    while (*at == FRESH) at++;
    const uint32_t deepest = 4 * (uint32_t)(stack_end - at);
    return moved(5, to, &deepest, 4) ? 3 : 0;
}
