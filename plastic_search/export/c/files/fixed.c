static int32_t clipped(int64_t a, int32_t most) {
    return a > most ? most : a < -most ? -most : (int32_t)a;
}

static int32_t scaled(int32_t a, int32_t b, int bits) { /* a b 2^-bits, to nearest */
    const int64_t product = (int64_t)a * b;
    return clipped(bits > 0 ? (product + ((int64_t)1 << (bits - 1))) >> bits : product * ((int64_t)1 << -bits), 1073741824);
}

static int32_t rescaled(int64_t sum, int32_t factor, int bits) { /* a sum of products as a drive */
    return clipped((sum * factor + ((int64_t)1 << (bits - 1))) >> bits, 1073741824);
}

static int32_t even(int32_t a, int bits) { /* a 2^-bits, to nearest, halves to even */
    const int32_t half = (int32_t)1 << (bits - 1), up = (a + half) >> bits;
    return up - ((a & (2 * half - 1)) == half && (up & 1));
}

static int32_t curve(int32_t a, int bits) { /* tanh of a 2^-bits, in 2^-15 */
    const int32_t size = (a < 0 ? -a : a) >> (bits - 15), at = size < 262143 ? size : 262143;
    const int32_t low = TANH[at >> 10], value = low + (((TANH[(at >> 10) + 1] - low) * (at & 1023)) >> 10);
    return a < 0 ? -value : value;
}

static int32_t excess(int32_t a) { /* by how many bits an integer is too large for 15 bits with a sign */
    uint32_t size = (uint32_t)(a < 0 ? -(a + 1) : a) >> 15;
    int32_t bits = 0;
    for (int by = 8; by; by /= 2) {
        if (size >> by) {
            size >>= by;
            bits += by;
        }
    }
    return size ? bits + 1 : bits;
}

static int32_t unpacked1(const uint8_t *from, size_t k) { /* -1 or 1 */
    return (from[k >> 3] >> (k & 7) & 1) ? 1 : -1;
}

static int32_t unpacked2(const uint8_t *from, size_t k) {
    return ((from[k >> 2] >> 2 * (k & 3) & 3) ^ 2) - 2;
}

static int32_t unpacked4(const uint8_t *from, size_t k) {
    return ((from[k >> 1] >> 4 * (k & 1) & 15) ^ 8) - 8;
}

static void row2(const uint8_t *from, size_t bytes, int8_t *to) { /* the codes of whole bytes */
    for (size_t k = 0; k < bytes; k++) {
        for (size_t n = 0; n < 4; n++) to[4 * k + n] = (int8_t)(((from[k] >> 2 * n & 3) ^ 2) - 2);
    }
}

static void row4(const uint8_t *from, size_t bytes, int8_t *to) {
    for (size_t k = 0; k < bytes; k++) {
        to[2 * k] = (int8_t)(((from[k] & 15) ^ 8) - 8);
        to[2 * k + 1] = (int8_t)(((from[k] >> 4) ^ 8) - 8);
    }
}

static void keep2(uint8_t *to, size_t bytes, const int8_t *from) { /* the reverse */
    for (size_t k = 0; k < bytes; k++) {
        to[k] = (uint8_t)((from[4 * k] & 3) | (from[4 * k + 1] & 3) << 2 | (from[4 * k + 2] & 3) << 4 | (from[4 * k + 3] & 3) << 6);
    }
}

static void keep4(uint8_t *to, size_t bytes, const int8_t *from) {
    for (size_t k = 0; k < bytes; k++) to[k] = (uint8_t)((from[2 * k] & 15) | (from[2 * k + 1] & 15) << 4);
}

static void pack2(uint8_t *to, size_t k, int32_t code) {
    const unsigned shift = 2 * (unsigned)(k & 3);
    to[k >> 2] = (uint8_t)((to[k >> 2] & ~(3u << shift)) | ((unsigned)code & 3u) << shift);
}

static void pack4(uint8_t *to, size_t k, int32_t code) {
    const unsigned shift = 4 * (unsigned)(k & 1);
    to[k >> 1] = (uint8_t)((to[k >> 1] & ~(15u << shift)) | ((unsigned)code & 15u) << shift);
}
