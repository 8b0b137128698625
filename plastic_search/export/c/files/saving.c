static uint32_t word(const unsigned char *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static unsigned char *put_word(unsigned char *at, uint32_t value) {
    for (int k = 0; k < 4; k++) at[k] = (unsigned char)(value >> 8 * k & 255u);
    return at + 4;
}

static unsigned char *put(unsigned char *at, const float *values, size_t count) {
    union { float number; uint32_t bits; } each;
    for (size_t k = 0; k < count; k++) {
        each.number = values[k];
        at = put_word(at, each.bits);
    }
    return at;
}

static const unsigned char *get(const unsigned char *at, float *values, size_t count) {
    union { float number; uint32_t bits; } each;
    for (size_t k = 0; k < count; k++, at += 4) {
        each.bits = word(at);
        values[k] = each.number;
    }
    return at;
}

static uint32_t checksum(const unsigned char *at, size_t count) { /* CRC-32 */
    uint32_t sum = 0xFFFFFFFFu;
    for (size_t k = 0; k < count; k++) {
        sum ^= at[k];
        for (int bit = 0; bit < 8; bit++) sum = sum >> 1 ^ (sum & 1u ? 0xEDB88320u : 0u);
    }
    return ~sum;
}
