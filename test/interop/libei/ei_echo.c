/* A C-node that serves what `cnode-demo serve` serves to its name `peer`:
 * the peer that speed is compared with.
 *
 *	ei_echo [-n | -p PORT] NAME COOKIE
 *
 * Prints "ready NAME PORT" once it can be reached; -n keeps it out of the port
 * mapper, and so does -p, with which it listens at that port of its name's host,
 * an address, rather than at any port of the loopback interface. A thread serves each connection, with buffers that are used again.
 * It ends with its standard input where that is a pipe.
 */
#include "node.h"

#include <pthread.h>
#include <sys/stat.h>

struct session {
	int fd;
	long count;           /* messages sunk since the last report */
	ei_x_buff in, out;
	erlang_msg msg;
};

static int atom_is(const char *buf, int *index, const char *want)
{
	int start = *index;
	char atom[MAXATOMLEN_UTF8];

	if (ei_decode_atom(buf, index, atom) == 0 && strcmp(atom, want) == 0)
		return 1;
	*index = start;
	return 0;
}

/* Sends the term at buf[start..end) to `to` without copying it: a message
 * begins with a version byte, which takes the place of the byte in front. That
 * byte belongs to something decoded before. */
static int send_in_place(struct session *s, erlang_pid *to, int start, int end)
{
	char *buf = s->in.buff + start - 1;

	*buf = (char)VERSION_MAGIC;
	return ei_send_encoded(s->fd, to, buf, end - start + 1);
}

static int sink(struct session *s, erlang_pid *from, int index)
{
	int last;

	if (ei_decode_boolean(s->in.buff, &index, &last) < 0)
		return -1;
	s->count++;
	if (!last)
		return 0;
	s->out.index = 0;
	if (ei_x_encode_version(&s->out) < 0 || ei_x_encode_tuple_header(&s->out, 2) < 0 ||
	    ei_x_encode_atom(&s->out, "count") < 0 || ei_x_encode_long(&s->out, s->count) < 0)
		return -1;
	s->count = 0;
	return ei_send_encoded(s->fd, from, s->out.buff, s->out.index);
}

static int source(struct session *s, erlang_pid *from, int index)
{
	int start;
	long n;

	if (ei_decode_long(s->in.buff, &index, &n) < 0)
		return -1;
	start = index;
	if (ei_skip_term(s->in.buff, &index) < 0)
		return -1;
	while (n-- > 0)
		if (send_in_place(s, from, start, index) < 0)
			return -1;
	return 0;
}

/* {'$gen_call', {Pid, Tag}, Request}, behind the atom: {Tag, Reply} to Pid.
 * net_kernel says yes to is_auth, which is all that net_adm:ping asks. */
static int gen_call(struct session *s, int index)
{
	const char *buf = s->in.buff;
	erlang_pid from;
	int arity, tag, request, ok;

	if (ei_decode_tuple_header(buf, &index, &arity) < 0 || arity != 2 ||
	    ei_decode_pid(buf, &index, &from) < 0)
		return -1;
	tag = index;
	if (ei_skip_term(buf, &index) < 0)
		return -1;
	request = index;
	if (ei_skip_term(buf, &index) < 0)
		return -1;
	s->out.index = 0;
	ok = ei_x_encode_version(&s->out) == 0 && ei_x_encode_tuple_header(&s->out, 2) == 0 &&
	     ei_x_append_buf(&s->out, buf + tag, request - tag) == 0;
	if (ok && s->msg.msgtype == ERL_REG_SEND && strcmp(s->msg.toname, "net_kernel") == 0)
		ok = ei_x_encode_atom(&s->out, "yes") == 0;
	else if (ok)
		ok = ei_x_encode_tuple_header(&s->out, 2) == 0 && ei_x_encode_atom(&s->out, "ok") == 0 &&
		     ei_x_append_buf(&s->out, buf + request, index - request) == 0;
	return ok ? ei_send_encoded(s->fd, &from, s->out.buff, s->out.index) : -1;
}

/* Answers one message; -1 ends the connection. A message that is none of ours
 * is dropped, as a process drops what it does not wait for. */
static int answer(struct session *s)
{
	const char *buf = s->in.buff;
	int index = 0, version, arity, start;
	erlang_pid from;

	if (ei_decode_version(buf, &index, &version) < 0 || ei_decode_tuple_header(buf, &index, &arity) < 0)
		return 0;
	if (arity == 3 && atom_is(buf, &index, "echo")) {
		if (ei_decode_pid(buf, &index, &from) < 0)
			return 0;
		start = index;
		if (ei_skip_term(buf, &index) < 0)
			return 0;
		return send_in_place(s, &from, start, index);
	}
	if (arity == 4 && atom_is(buf, &index, "sink"))
		return ei_decode_pid(buf, &index, &from) < 0 ? 0 : sink(s, &from, index);
	if (arity == 4 && atom_is(buf, &index, "source"))
		return ei_decode_pid(buf, &index, &from) < 0 ? 0 : source(s, &from, index);
	if (arity == 3 && atom_is(buf, &index, "$gen_call"))
		return gen_call(s, index);
	return 0;
}

static void *serve(void *arg)
{
	struct session *s = arg;
	int got;

	if (ei_x_new(&s->in) < 0 || ei_x_new(&s->out) < 0)
		die("no memory");
	while ((got = ei_xreceive_msg(s->fd, &s->msg, &s->in)) != ERL_ERROR) {
		if (got == ERL_TICK || (s->msg.msgtype != ERL_SEND && s->msg.msgtype != ERL_REG_SEND))
			continue;
		if (answer(s) < 0)
			break;
	}
	ei_close_connection(s->fd);
	ei_x_free(&s->in);
	ei_x_free(&s->out);
	free(s);
	return NULL;
}

static void *end_with_input(void *arg)
{
	char buf[64];

	(void)arg;
	while (read(0, buf, sizeof buf) > 0)
		;
	exit(0);
}

static void in_background(void *(*run)(void *), void *arg)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, run, arg) != 0)
		die("no thread");
	pthread_detach(thread);
}

int main(int argc, char **argv)
{
	struct in_addr at = {htonl(INADDR_LOOPBACK)};
	int publish = 1, port = 0, listener;
	struct stat input;
	ei_cnode node;

	if (argc > 1 && strcmp(argv[1], "-n") == 0) {
		publish = 0;
		argc--, argv++;
	} else if (argc > 3 && strcmp(argv[1], "-p") == 0) {
		publish = 0;
		port = (int)number("PORT", argv[2], 1);
		argc -= 2, argv += 2;
	}
	if (argc != 3) {
		fprintf(stderr, "usage: ei_echo [-n | -p PORT] NAME COOKIE\n");
		return 2;
	}
	if (ei_init() != 0)
		die("ei_init");
	node_init(&node, argv[1], argv[2], (unsigned)getpid());
	if (port != 0 && inet_aton(strchr(argv[1], '@') + 1, &at) == 0)
		die("no address: %s", argv[1]);
	if ((listener = ei_xlisten(&node, &at, &port, 128)) < 0)
		die("ei_xlisten");
	if (publish && ei_publish(&node, port) < 0)
		die("ei_publish %s", argv[1]);
	if (fstat(0, &input) == 0 && S_ISFIFO(input.st_mode))
		in_background(end_with_input, NULL);
	printf("ready %s %d\n", argv[1], port);
	fflush(stdout);

	for (;;) {
		struct session *s = calloc(1, sizeof *s);
		ErlConnect peer;

		if (s == NULL)
			die("no memory");
		if ((s->fd = ei_accept(&node, listener, &peer)) < 0) {
			/* Somebody with another cookie, or who went away. */
			free(s);
			continue;
		}
		in_background(serve, s);
	}
}
