/* What the programs in this folder share: becoming a node, reaching another. */
#ifndef NODE_H
#define NODE_H

#define USE_EI_UNDOCUMENTED /* ei_send_encoded, the form that takes a const pid */
#define VERSION_MAGIC 131
#include <ei.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fprintf(stderr, " (erl_errno %d: %s)\n", erl_errno, strerror(erl_errno));
	exit(1);
}

static inline double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* A whole number of at least low from an argument. */
static inline long number(const char *what, const char *text, long low)
{
	char *end;
	long n = strtol(text, &end, 10);

	if (*text == 0 || *end != 0 || n < low)
		die("%s is not a number of at least %ld: %s", what, low, text);
	return n;
}

/* Makes this process the node `name`, which has the form alive@host. */
static inline void node_init(ei_cnode *node, const char *name, const char *cookie, unsigned creation)
{
	struct in_addr loopback = {htonl(INADDR_LOOPBACK)};
	const char *at = strchr(name, '@');
	char alive[EI_MAXALIVELEN + 1];

	if (at == NULL || at == name || at[1] == 0 || at - name > EI_MAXALIVELEN)
		die("not a node name: %s", name);
	memcpy(alive, name, at - name);
	alive[at - name] = 0;
	if (ei_connect_xinit(node, at + 1, alive, name, &loopback, cookie, creation) < 0)
		die("ei_connect_xinit %s", name);
}

/* Connects to `peer`, at `port` of its host, or where its port mapper says if
 * port is 0. */
static inline int node_connect(ei_cnode *node, const char *peer, int port)
{
	char name[MAXNODELEN + 1];
	char *host = strchr(peer, '@');
	int fd;

	if (host == NULL || strlen(peer) > MAXNODELEN)
		die("not a node name: %s", peer);
	strcpy(name, peer);
	fd = port != 0 ? ei_connect_host_port(node, host + 1, port) : ei_connect(node, name);
	if (fd < 0)
		die("cannot connect to %s: %d", peer, fd);
	return fd;
}

#endif
