// A 32-bit program without a library.
static long call(long number, long a, long b, long c) {
    long result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");
    return result;
}

void _start(void) {
    call(4, 1, (long)"32 bits\n", 8);
    call(1, 0, 0, 0);
    __builtin_trap();
}
