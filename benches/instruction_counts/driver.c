/* What `instructions` counts: a few hundred calls of each kind, told apart by callgrind's own requests. Outside of
 * valgrind these do nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tel.h>
#include <valgrind/callgrind.h>

/* Few enough to fit the queue, since the worker seldom has its turn under valgrind. */
enum { WARM_UP = 10, CALLS = 200, LONGEST = 2000 };

static const size_t lengths[] = { 100, 250, 2000 };

int main(void)
{
    char reason[512];
    tel_producer *p = tel_producer_new("{\"embedded_broker\": true}", NULL, reason, sizeof reason);
    const char clients[] = "{\"clients\": [{\"id\": \"c83\"}]}";
    if (!p || tel_set_clients(p, clients, sizeof clients - 1, reason, sizeof reason) != TEL_OK) {
        fprintf(stderr, "%s\n", reason);
        return 1;
    }
    char line[LONGEST] = "x83 ";
    memset(line + 4, 'a', sizeof line - 4);

    char name[32];
    int bad = 0;
    for (size_t kind = 0; kind < sizeof lengths / sizeof *lengths; kind++) {
        for (int call = -WARM_UP; call < CALLS; call++) {
            if (call == 0)
                CALLGRIND_ZERO_STATS;
            bad |= tel_submit(p, line, lengths[kind]);
        }
        snprintf(name, sizeof name, "submit-%zu", lengths[kind]);
        CALLGRIND_DUMP_STATS_AT(name);
    }
    for (int call = -WARM_UP; call < CALLS; call++) {
        if (call == 0)
            CALLGRIND_ZERO_STATS;
        bad |= tel_submit_for(p, "x83", 3, line, 250);
    }
    CALLGRIND_DUMP_STATS_AT("submit_for-250");
    for (int call = -WARM_UP; call < CALLS; call++) {
        if (call == 0)
            CALLGRIND_ZERO_STATS;
        bad |= tel_wants(p, "c83", 3) != 1;
    }
    CALLGRIND_DUMP_STATS_AT("wants-1");
    printf("calls %d\n", CALLS);
    tel_stats s;
    bad |= tel_get_stats(p, &s, sizeof s);
    if (bad || s.dropped_full) {
        fprintf(stderr, "a call failed, or found the queue full\n");
        return 1;
    }
    fflush(stdout);
    /* No orderly end: it would take long under valgrind, and is not what is counted. */
    _Exit(0);
}
