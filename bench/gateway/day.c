/* A day of a hosting site, in fast motion: a schedule for `ask`.
 *
 *   day SITES VISITS SECONDS
 *     so many sites, named s0.test and on; so many visits in 24 hours; which take so many seconds
 *
 * Popularity after Zipf, visits by chance along the curve of a day, with several pages each and what belongs to a page; and three
 * sites that somebody famous has spoken of. The same every time. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static const double DAY = 86400, NEXT_PAGE = 40, CROWD = 600;
enum { CROWDS = 3, PARTS = 3 };

struct request { double at; int site; };

static struct request *all;
static size_t count, room;
static uint64_t state = 0x9e3779b97f4a7c15;

/* 0 to 1: xorshift64 (Marsaglia 2003). */
static double chance(void) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)(state >> 11) / (double)(1ull << 53);
}

static double until_next(double mean) { return -mean * log(1 - chance()); }

static void add(double at, int site) {
    if (at >= DAY) return;
    if (count == room) {
        room = room ? 2 * room : 4096;
        all = realloc(all, room * sizeof *all);
        if (!all) exit(1);
    }
    all[count++] = (struct request){at, site};
}

/* A page and what belongs to it, then perhaps another. */
static void visit(double at, int site) {
    do {
        for (int part = 0; part < PARTS; part++) add(at + 0.2 * part, site);
        at += until_next(NEXT_PAGE);
    } while (chance() < 0.7);
}

/* Most are awake at three in the afternoon, fewest at three in the morning. */
static double awake(double at) { return 1 - 0.8 * cos(2 * M_PI * (at / DAY - 0.125)); }

static int site_of(int sites) {
    double sum = 0;
    for (int i = 1; i <= sites; i++) sum += 1.0 / i;
    double drawn = chance() * sum;
    int site = 0;
    while (site < sites - 1 && (drawn -= 1.0 / (site + 1)) > 0) site++;
    return site;
}

static void crowd(int site, double from, int visits) {
    for (int i = 0; i < visits; i++) visit(from + CROWD * chance() * chance(), site);
}

static int earlier(const void *a, const void *b) {
    double left = ((const struct request *)a)->at, right = ((const struct request *)b)->at;
    return (left > right) - (left < right);
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int sites = atoi(argv[1]), visits = atoi(argv[2]);
    double seconds = atof(argv[3]);
    /* Drawn by the hour that most are awake in, then as many thrown away as are not. */
    for (double at = 0; (at += until_next(DAY / visits / 1.8)) < DAY;)
        if (chance() * 1.8 < awake(at)) visit(at, site_of(sites));
    for (int i = 1; i <= CROWDS; i++) crowd(sites * i / (CROWDS + 1), DAY * i / (CROWDS + 1), visits / 20);
    qsort(all, count, sizeof *all, earlier);
    for (size_t i = 0; i < count; i++) printf("%.0f s%d.test /\n", all[i].at * seconds / DAY * 1e6, all[i].site);
}
