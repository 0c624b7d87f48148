/* A C-node that connects again and again.
 *
 *	ei_connect_rate [-p PORT] NODE COOKIE N
 *
 * Connects to NODE N times, one after the other, each time under another name,
 * so that NODE never has to ask whether the last connection is still alive.
 * PORT leaves the port mapper out. Prints "connections=N seconds=S rate=R", R a
 * second.
 */
#include "node.h"

int main(int argc, char **argv)
{
	int port = 0, option;
	double start, took;
	ei_cnode node;
	long n;

	while ((option = getopt(argc, argv, "p:")) != -1) {
		if (option == 'p')
			port = (int)number("PORT", optarg, 1);
		else
			argc = 0;
	}
	if (argc - optind != 3) {
		fprintf(stderr, "usage: ei_connect_rate [-p PORT] NODE COOKIE N\n");
		return 2;
	}
	argv += optind;
	n = number("N", argv[2], 1);
	if (ei_init() != 0)
		die("ei_init");
	start = now();
	for (long i = 0; i < n; i++) {
		char name[64];

		snprintf(name, sizeof name, "eirate%ld_%ld@127.0.0.1", (long)getpid(), i);
		node_init(&node, name, argv[1], (unsigned)getpid());
		ei_close_connection(node_connect(&node, argv[0], port));
	}
	took = now() - start;
	printf("connections=%ld seconds=%.6f rate=%.1f\n", n, took, (double)n / took);
	return 0;
}
