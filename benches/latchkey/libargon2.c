/* Hashes by the C library libargon2 on a number of threads for a number of milliseconds, and
 * prints how many hashes were done in time.
 *
 * It is built against the library alone, so that no header needs to be installed.
 *
 * Arguments: MILLISECONDS THREADS MEMORY_KIB PASSES LANES */

#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int argon2id_hash_raw(uint32_t passes, uint32_t memory_kib, uint32_t lanes, const void *password,
                      size_t password_length, const void *salt, size_t salt_length, void *tag,
                      size_t tag_length);

enum { MOST_THREADS = 1024 };

static uint32_t memory_kib, passes, lanes;
static double ends;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void *hash(void *count) {
    static const char password[] = "correct horse battery", salt[16] = "sixteen bytes..";
    char tag[32];
    for (;;) {
        int error = argon2id_hash_raw(passes, memory_kib, lanes, password, strlen(password), salt,
                                      sizeof salt, tag, sizeof tag);
        if (error)
            exit(1);
        if (now() > ends)
            return NULL;
        ++*(long *)count;
    }
}

int main(int argc, char **argv) {
    if (argc != 6)
        return 2;
    int threads = atoi(argv[2]);
    if (threads < 1 || threads > MOST_THREADS)
        return 2;
    memory_kib = (uint32_t)atoi(argv[3]);
    passes = (uint32_t)atoi(argv[4]);
    lanes = (uint32_t)atoi(argv[5]);
    static pthread_t thread[MOST_THREADS];
    static long count[MOST_THREADS];
    ends = now() + atof(argv[1]) / 1000;
    for (int i = 0; i < threads; ++i)
        if (pthread_create(&thread[i], NULL, hash, &count[i]))
            return 1;
    long total = 0;
    for (int i = 0; i < threads; ++i) {
        pthread_join(thread[i], NULL);
        total += count[i];
    }
    printf("%ld\n", total);
    return 0;
}
