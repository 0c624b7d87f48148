/* A C-node that calls another one and checks every byte that comes back.
 *
 *	ei_client [-p PORT] [-r] NODE COOKIE ROUNDS SIZE
 *
 * Sends {echo, Self, Bin} to the name `peer` of NODE and waits for Bin, ROUNDS
 * times with SIZE bytes; with -r calls cnode:echo(Bin) with ei_rpc instead.
 * PORT leaves the port mapper out. Prints "rounds=R size=S us=MICROSECONDS",
 * the time of one round; exits with 1 and the reason if anything is not right.
 */
#include "node.h"

static void fill(unsigned char *data, long size, long round)
{
	for (long i = 0; i < size; i++)
		data[i] = (unsigned char)(i * 7 + round);
}

/* The next message that is not a tick, into `in`. */
static void receive(int fd, ei_x_buff *in)
{
	erlang_msg msg;
	int got;

	while ((got = ei_xreceive_msg(fd, &msg, in)) == ERL_TICK)
		;
	if (got == ERL_ERROR)
		die("ei_xreceive_msg");
	if (msg.msgtype != ERL_SEND)
		die("a message of type %ld came where a send was expected", msg.msgtype);
}

/* The term at index must be a binary of just these bytes. */
static void check(const ei_x_buff *in, int index, const unsigned char *want, long size, long round)
{
	const char *got;
	unsigned offset;
	size_t bits;

	if (ei_decode_bitstring(in->buff, &index, &got, &offset, &bits) < 0)
		die("round %ld: the answer is not a binary", round);
	if (bits != (size_t)size * 8 || offset != 0)
		die("round %ld: %zu bits came back, not %ld", round, bits, size * 8);
	if (memcmp(got, want, size) != 0)
		die("round %ld: other bytes came back", round);
}

static void echo(ei_cnode *node, int fd, long rounds, unsigned char *data, long size)
{
	ei_x_buff in, out;

	if (ei_x_new(&in) < 0 || ei_x_new(&out) < 0)
		die("no memory");
	for (long round = 0; round < rounds; round++) {
		int index = 0, version;

		fill(data, size, round);
		out.index = 0;
		if (ei_x_encode_version(&out) < 0 || ei_x_encode_tuple_header(&out, 3) < 0 ||
		    ei_x_encode_atom(&out, "echo") < 0 || ei_x_encode_pid(&out, ei_self(node)) < 0 ||
		    ei_x_encode_binary(&out, data, size) < 0)
			die("no memory");
		if (ei_reg_send(node, fd, "peer", out.buff, out.index) < 0)
			die("round %ld: ei_reg_send", round);
		receive(fd, &in);
		if (ei_decode_version(in.buff, &index, &version) < 0)
			die("round %ld: the answer has no version byte", round);
		check(&in, index, data, size, round);
	}
}

static void rpc(ei_cnode *node, int fd, long rounds, unsigned char *data, long size)
{
	ei_x_buff in, out;

	if (ei_x_new(&in) < 0 || ei_x_new(&out) < 0)
		die("no memory");
	for (long round = 0; round < rounds; round++) {
		fill(data, size, round);
		out.index = in.index = 0;
		if (ei_x_encode_list_header(&out, 1) < 0 || ei_x_encode_binary(&out, data, size) < 0 ||
		    ei_x_encode_empty_list(&out) < 0)
			die("no memory");
		if (ei_rpc(node, fd, "cnode", "echo", out.buff, out.index, &in) < 0)
			die("round %ld: ei_rpc", round);
		check(&in, 0, data, size, round);
	}
}

int main(int argc, char **argv)
{
	void (*call)(ei_cnode *, int, long, unsigned char *, long) = echo;
	int port = 0, option, fd;
	long rounds, size;
	unsigned char *data;
	char name[64];
	ei_cnode node;
	double start;

	while ((option = getopt(argc, argv, "p:r")) != -1) {
		if (option == 'p')
			port = (int)number("PORT", optarg, 1);
		else if (option == 'r')
			call = rpc;
		else
			argc = 0;
	}
	if (argc - optind != 4) {
		fprintf(stderr, "usage: ei_client [-p PORT] [-r] NODE COOKIE ROUNDS SIZE\n");
		return 2;
	}
	argv += optind;
	rounds = number("ROUNDS", argv[2], 1);
	size = number("SIZE", argv[3], 0);
	if ((data = malloc(size + 1)) == NULL)
		die("no memory");
	if (ei_init() != 0)
		die("ei_init");
	snprintf(name, sizeof name, "eiclient%ld@127.0.0.1", (long)getpid());
	node_init(&node, name, argv[1], (unsigned)getpid());
	fd = node_connect(&node, argv[0], port);
	start = now();
	call(&node, fd, rounds, data, size);
	printf("rounds=%ld size=%ld us=%.2f\n", rounds, size, (now() - start) * 1e6 / (double)rounds);
	ei_close_connection(fd);
	free(data);
	return 0;
}
