/* One operation of libei on one shape of terms. The counterpart of test/bench/codec, which describes the shapes.

     ei_codec walk|append FILE MS

   FILE has the term, and the shape's name. Prints nanoseconds of one operation. To walk is to read every element: atoms into a buffer, as
   there is no other way; binaries where they are, by ei_decode_bitstring. */
#include <ei.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { INTEGERS = 1000, ATOM_PAIRS = 100, OPTIONS = 200, RECORDS = 1000, DEPTH = 500, DOCUMENTS = 100, LARGE = 1 << 20 };

static char *data; /* of the file */
static long size;
static char *to; /* what is appended; with room for every shape */
static long long sum;

static char keys[ATOM_PAIRS][32], values[ATOM_PAIRS][32], names[OPTIONS][32], people[RECORDS][32], titles[DOCUMENTS][32];
static char large[LARGE];
static erlang_pid pid = {.num = 1234, .serial = 1, .creation = 1690000000};

static void die(const char *what)
{
    fprintf(stderr, "ei_codec: %s\n", what);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static void check(int result)
{
    if (result < 0)
        die("libei fails");
}

/* What is read, one by one. */

static void read_atom(int *i)
{
    char text[MAXATOMLEN_UTF8];
    check(ei_decode_atom_as(data, i, text, sizeof text, ERLANG_UTF8, NULL, NULL));
}

static void read_int(int *i)
{
    long long v;
    check(ei_decode_longlong(data, i, &v));
    sum += v;
}

static void read_float(int *i)
{
    double v;
    check(ei_decode_double(data, i, &v));
    sum += (long long)v;
}

static const char *read_binary(int *i, size_t *n)
{
    const char *p;
    unsigned unused;
    size_t bits;
    check(ei_decode_bitstring(data, i, &p, &unused, &bits));
    *n = bits / 8;
    return p;
}

static void drop_binary(int *i)
{
    size_t n;
    read_binary(i, &n);
}

static int read_list(int *i)
{
    int n;
    check(ei_decode_list_header(data, i, &n));
    return n;
}

static int read_map(int *i)
{
    int n;
    check(ei_decode_map_header(data, i, &n));
    return n;
}

static int read_tuple(int *i)
{
    int n;
    check(ei_decode_tuple_header(data, i, &n));
    return n;
}

static void walk_echo(int *i)
{
    erlang_pid from;
    read_tuple(i);
    read_atom(i);
    check(ei_decode_pid(data, i, &from));
    read_int(i);
    drop_binary(i);
}

static void walk_integers(int *i)
{
    for (int n = read_list(i); n > 0; n--)
        read_int(i);
    read_list(i);
}

static void walk_atom_map(int *i)
{
    for (int n = read_map(i); n > 0; n--) {
        read_atom(i);
        drop_binary(i);
    }
}

static void walk_proplist(int *i)
{
    for (int n = read_list(i); n > 0; n--) {
        read_tuple(i);
        read_atom(i);
        read_int(i);
    }
    read_list(i);
}

static void walk_binary(int *i) { drop_binary(i); }

static void walk_records(int *i)
{
    for (int n = read_list(i); n > 0; n--) {
        read_tuple(i);
        read_atom(i);
        read_int(i);
        drop_binary(i);
        drop_binary(i);
        read_int(i);
        read_float(i);
        read_atom(i);
    }
    read_list(i);
}

static void walk_nesting(int *i)
{
    for (int n = 0; n < DEPTH; n++)
        read_list(i);
    read_list(i);
    for (int n = 0; n < DEPTH; n++) {
        read_int(i);
        read_list(i);
    }
}

static void walk_json(int *i)
{
    for (int n = read_list(i); n > 0; n--)
        for (int left = read_map(i); left > 0; left--) {
            size_t length;
            const char *key = read_binary(i, &length);
            int is_true;
#define IS(name) (length == sizeof name - 1 && memcmp(key, name, sizeof name - 1) == 0)
            if (IS("id") || IS("stock"))
                read_int(i);
            else if (IS("name"))
                drop_binary(i);
            else if (IS("price"))
                read_float(i);
            else if (IS("active"))
                check(ei_decode_boolean(data, i, &is_true));
            else if (IS("tags")) {
                for (int tags = read_list(i); tags > 0; tags--)
                    drop_binary(i);
                read_list(i);
            }
        }
    read_list(i);
}

/* What is appended, one by one. */

static void put_atom(int *i, const char *text) { check(ei_encode_atom_as(to, i, text, ERLANG_UTF8, ERLANG_UTF8)); }

static void put_binary(int *i, const char *text) { check(ei_encode_binary(to, i, text, strlen(text))); }

static void append_echo(int *i)
{
    check(ei_encode_tuple_header(to, i, 4));
    put_atom(i, "echo");
    check(ei_encode_pid(to, i, &pid));
    check(ei_encode_longlong(to, i, 42));
    put_binary(i, "hello");
}

static void append_integers(int *i)
{
    check(ei_encode_list_header(to, i, INTEGERS));
    for (int n = 0; n < INTEGERS; n++)
        check(ei_encode_longlong(to, i, 1000 * n));
    check(ei_encode_empty_list(to, i));
}

static void append_atom_map(int *i)
{
    check(ei_encode_map_header(to, i, ATOM_PAIRS));
    for (int n = 0; n < ATOM_PAIRS; n++) {
        put_atom(i, keys[n]);
        put_binary(i, values[n]);
    }
}

static void append_proplist(int *i)
{
    check(ei_encode_list_header(to, i, OPTIONS));
    for (int n = 0; n < OPTIONS; n++) {
        check(ei_encode_tuple_header(to, i, 2));
        put_atom(i, names[n]);
        check(ei_encode_longlong(to, i, 10 * n));
    }
    check(ei_encode_empty_list(to, i));
}

static void append_binary(int *i) { check(ei_encode_binary(to, i, large, LARGE)); }

static void append_records(int *i)
{
    check(ei_encode_list_header(to, i, RECORDS));
    for (int n = 0; n < RECORDS; n++) {
        check(ei_encode_tuple_header(to, i, 7));
        put_atom(i, "person");
        check(ei_encode_longlong(to, i, 100000 + n));
        put_binary(i, people[n]);
        put_binary(i, "someone@example.com");
        check(ei_encode_longlong(to, i, 20 + n % 50));
        check(ei_encode_double(to, i, 1.5 * n));
        put_atom(i, "active");
    }
    check(ei_encode_empty_list(to, i));
}

static void append_nesting(int *i)
{
    for (int n = 0; n < DEPTH; n++)
        check(ei_encode_list_header(to, i, 2));
    check(ei_encode_empty_list(to, i));
    for (int n = 0; n < DEPTH; n++) {
        check(ei_encode_longlong(to, i, n));
        check(ei_encode_empty_list(to, i));
    }
}

static void append_json(int *i)
{
    check(ei_encode_list_header(to, i, DOCUMENTS));
    for (int n = 0; n < DOCUMENTS; n++) {
        check(ei_encode_map_header(to, i, 6));
        put_binary(i, "id");
        check(ei_encode_longlong(to, i, 1000 + n));
        put_binary(i, "name");
        put_binary(i, titles[n]);
        put_binary(i, "price");
        check(ei_encode_double(to, i, 0.5 * n));
        put_binary(i, "stock");
        check(ei_encode_longlong(to, i, n));
        put_binary(i, "active");
        check(ei_encode_boolean(to, i, 1));
        put_binary(i, "tags");
        check(ei_encode_list_header(to, i, 2));
        put_binary(i, "green");
        put_binary(i, "green");
        check(ei_encode_empty_list(to, i));
    }
    check(ei_encode_empty_list(to, i));
}

static struct shape {
    const char *name;
    void (*walk)(int *i), (*append)(int *i);
} shapes[] = {
    {"echo", walk_echo, append_echo},
    {"integers", walk_integers, append_integers},
    {"atom-map", walk_atom_map, append_atom_map},
    {"proplist", walk_proplist, append_proplist},
    {"binary", walk_binary, append_binary},
    {"records", walk_records, append_records},
    {"nesting", walk_nesting, append_nesting},
    {"json", walk_json, append_json},
};

static struct shape *shape;

static void walk(void)
{
    int i = 0, version;
    check(ei_decode_version(data, &i, &version));
    shape->walk(&i);
    if (i != size)
        die("bytes are left");
}

static void append(void)
{
    int i = 0;
    check(ei_encode_version(to, &i));
    shape->append(&i);
    if (i != size)
        die("another length than the file's");
}

static double repeat(void (*once)(void), long batch, double seconds, long *n)
{
    double begun = now(), took = 0;
    for (*n = 0; took < seconds; *n += batch, took = now() - begun)
        for (long i = 0; i < batch; i++)
            once();
    return took;
}

static void read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL)
        die("no file");
    fseek(f, 0, SEEK_END);
    size = ftell(f);
    rewind(f);
    data = malloc(size);
    to = calloc(1, 2 * LARGE);
    if (fread(data, 1, size, f) != (size_t)size)
        die("reading the file");
    fclose(f);
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(shapes[i].name, name) == 0)
            shape = &shapes[i];
    if (shape == NULL)
        die("no such shape");
}

int main(int argc, char **argv)
{
    if (argc != 4)
        die("usage: ei_codec walk|append FILE MS");
    ei_init();
    read_file(argv[2]);
    strcpy(pid.node, "shop@127.0.0.1");
    for (int n = 0; n < RECORDS; n++) {
        sprintf(keys[n % ATOM_PAIRS], "key_%d", n % ATOM_PAIRS);
        sprintf(values[n % ATOM_PAIRS], "value %d", n % ATOM_PAIRS);
        sprintf(names[n % OPTIONS], "option_%d", n % OPTIONS);
        sprintf(people[n], "Person %d", n);
        sprintf(titles[n % DOCUMENTS], "Article %d", n % DOCUMENTS);
    }
    void (*once)(void) = strcmp(argv[1], "walk") == 0 ? walk : append;
    once();
    if (once == append && memcmp(to, data, size) != 0)
        die("other bytes than the file's");
    double seconds = atoi(argv[3]) / 1e3;
    long n;
    repeat(once, 1, seconds / 4, &n);
    double took = repeat(once, n / 4 + 1, seconds, &n);
    printf("%f\n", took * 1e9 / n);
    return 0;
}
