/* Reads inputs from standard input, one step after another, and prints the outputs of each.

   main [--binary] [--restore FILE] [--save FILE]

   Text is numbers apart by spaces or lines, NETWORK_INPUTS to a step; the outputs of a step are a line. Binary is numbers
   of this machine as the network holds them, in and out. FILE is a saved state: learning goes on where it ended. */
#include <stdio.h>
#include <string.h>

#include "network.h"

static int fail(const char *what, const char *file) {
    fprintf(stderr, "main: %s%s\n", what, file);
    return 1;
}

#ifdef NETWORK_INPUT_BITS /* in integers */
static network_number in(float number) {
    const float scaled = number * (float)(1 << NETWORK_INPUT_BITS);
    const float near = scaled < 0.0f ? scaled - 0.5f : scaled + 0.5f;
    return near >= 32767.0f ? 32767 : near <= -32768.0f ? -32768 : (network_number)near;
}

static double out(network_number integer) {
    double number = integer; /* a fraction has -1 to 30 bits */
    for (int k = 0; k < NETWORK_OUTPUT_BITS; k++) number /= 2.0;
    return NETWORK_OUTPUT_BITS < 0 ? 2.0 * number : number;
}
#else
static network_number in(float number) { return number; }
static double out(network_number number) { return (double)number; }
#endif

/* 1: a step was read. 0: there is none. -1: it ended within a step, or something is no number. */
static int next(int binary, network_number input[NETWORK_INPUTS]) {
    size_t count = 0;
    if (binary) {
        const size_t bytes = fread(input, 1, sizeof(network_number) * NETWORK_INPUTS, stdin);
        return bytes == sizeof(network_number) * NETWORK_INPUTS ? 1 : bytes ? -1 : 0;
    }
    for (; count < NETWORK_INPUTS; count++) {
        float number;
        const int found = scanf("%f", &number);
        if (found != 1) return found == EOF && count == 0 ? 0 : -1;
        input[count] = in(number);
    }
    return 1;
}

static int restored(network_state *state, const char *file) {
    static unsigned char bytes[NETWORK_SAVED];
    FILE *from = fopen(file, "rb");
    if (!from) return fail("cannot read ", file);
    const size_t count = fread(bytes, 1, sizeof bytes, from);
    fclose(from);
    if (count != sizeof bytes || network_restore(state, bytes)) return fail("no saved state of this network: ", file);
    return 0;
}

static int saved(const network_state *state, const char *file) {
    static unsigned char bytes[NETWORK_SAVED];
    FILE *to = fopen(file, "wb");
    if (!to) return fail("cannot write ", file);
    network_save(state, bytes);
    const size_t count = fwrite(bytes, 1, sizeof bytes, to);
    if (fclose(to) || count != sizeof bytes) return fail("cannot write ", file);
    return 0;
}

int main(int argc, char **argv) {
    static network_state state;
    static network_number input[NETWORK_INPUTS], output[NETWORK_OUTPUTS];
    const char *save = NULL;
    int binary = 0, found;
    network_init(&state);
    for (int k = 1; k < argc; k++) {
        if (!strcmp(argv[k], "--binary")) binary = 1;
        else if (!strcmp(argv[k], "--save") && k + 1 < argc) save = argv[++k];
        else if (!strcmp(argv[k], "--restore") && k + 1 < argc) {
            if (restored(&state, argv[++k])) return 1;
        } else return fail("usage: main [--binary] [--restore FILE] [--save FILE], not ", argv[k]);
    }
    while ((found = next(binary, input)) == 1) {
        network_step(&state, input, output);
        if (binary) fwrite(output, sizeof(network_number), NETWORK_OUTPUTS, stdout);
        else for (size_t k = 0; k < NETWORK_OUTPUTS; k++)
            printf("%.9g%c", out(output[k]), k + 1 < NETWORK_OUTPUTS ? ' ' : '\n');
    }
    if (found < 0) return fail("a step is not whole, or something is not a number", "");
    if (fflush(stdout)) return fail("cannot write the outputs", "");
    return save ? saved(&state, save) : 0;
}
