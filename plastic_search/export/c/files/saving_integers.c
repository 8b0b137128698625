static uint32_t word(const unsigned char *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static unsigned char *put_word(unsigned char *at, uint32_t value) {
    for (int k = 0; k < 4; k++) at[k] = (unsigned char)(value >> 8 * k & 255u);
    return at + 4;
}

static unsigned char *put(unsigned char *at, uint32_t value, int size) {
    for (int k = 0; k < size; k++) at[k] = (unsigned char)(value >> 8 * k & 255u);
    return at + size;
}

static int32_t get(const unsigned char *at, int size) {
    const uint32_t sign = (uint32_t)1 << (8 * size - 1);
    uint32_t value = 0;
    for (int k = 0; k < size; k++) value |= (uint32_t)at[k] << 8 * k;
    value = (value ^ sign) - sign;
    return value <= INT32_MAX ? (int32_t)value : -(int32_t)(UINT32_MAX - value) - 1;
}

static uint32_t checksum(const unsigned char *at, size_t count) { /* CRC-32 */
    uint32_t sum = 0xFFFFFFFFu;
    for (size_t k = 0; k < count; k++) {
        sum ^= at[k];
        for (int bit = 0; bit < 8; bit++) sum = sum >> 1 ^ (sum & 1u ? 0xEDB88320u : 0u);
    }
    return ~sum;
}
