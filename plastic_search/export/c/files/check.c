/* The check of an export: writes the state at the start of an episode; then, for each saved state and input that it
   reads, takes a step, and writes the outputs and the state after it. */
#include <stdio.h>

#include "network.h"

int main(void) {
    static network_state state;
    static unsigned char bytes[NETWORK_SAVED];
    static network_number input[NETWORK_INPUTS], output[NETWORK_OUTPUTS];
    network_init(&state);
    network_save(&state, bytes);
    if (fwrite(bytes, 1, sizeof bytes, stdout) != sizeof bytes || fflush(stdout)) return 1;
    while (fread(bytes, 1, sizeof bytes, stdin) == sizeof bytes) {
        if (network_restore(&state, bytes)) return 2;
        if (fread(input, sizeof(network_number), NETWORK_INPUTS, stdin) != NETWORK_INPUTS) return 3;
        network_step(&state, input, output);
        network_save(&state, bytes);
        if (fwrite(output, sizeof(network_number), NETWORK_OUTPUTS, stdout) != NETWORK_OUTPUTS) return 4;
        if (fwrite(bytes, 1, sizeof bytes, stdout) != sizeof bytes || fflush(stdout)) return 5;
    }
    return 0;
}
