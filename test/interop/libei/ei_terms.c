/*
 * Does on single terms what the functions of the C library do that have a counterpart in Go:
 * reads questions, each a byte for its kind and 4 bytes for the length of what follows, and
 * writes answers, each a byte that is 1 if the function has failed, 4 bytes of length, and bytes.
 */
#include "node.h"

static unsigned char question[1 << 20];
static ei_x_buff answer;

static unsigned number32(const unsigned char *p)
{
	return (unsigned)p[0] << 24 | (unsigned)p[1] << 16 | (unsigned)p[2] << 8 | p[3];
}

static long long number64(const unsigned char *p) { return (long long)((unsigned long long)number32(p) << 32 | number32(p + 4)); }

/* What a term is as text: ei_s_print_term. */
static int print(void)
{
	char *text = NULL;
	int index = 0, r = ei_s_print_term(&text, (char *)question, &index);

	if (r >= 0)
		ei_x_append_buf(&answer, text, r);
	free(text);
	return r;
}

/* From, to, text: ei_encode_atom_len_as. */
static int encode_atom(int len)
{
	char buf[2000];
	int index = 0, r;

	r = ei_encode_atom_len_as(buf, &index, (char *)question + 2, len - 2, (erlang_char_encoding)question[0], (erlang_char_encoding)question[1]);
	if (r >= 0)
		ei_x_append_buf(&answer, buf, index);
	return r;
}

/* Wanted, a term: ei_decode_atom_as; the encodings, then the text. */
static int decode_atom(void)
{
	char text[MAXATOMLEN_UTF8];
	int index = 1;
	erlang_char_encoding was, is;
	char two[2];

	if (ei_decode_atom_as((char *)question, &index, text, sizeof text, (erlang_char_encoding)question[0], &was, &is) < 0)
		return -1;
	two[0] = (char)was;
	two[1] = (char)is;
	ei_x_append_buf(&answer, two, 2);
	ei_x_append_buf(&answer, text, (int)strlen(text));
	return 0;
}

static int decode_char(void)
{
	char c;
	int index = 0;

	if (ei_decode_char((char *)question, &index, &c) < 0)
		return -1;
	ei_x_append_buf(&answer, &c, 1);
	return 0;
}

/* A token there and back: ei_decode_trace, ei_encode_trace. */
static int trace(void)
{
	erlang_trace t;
	char buf[2000];
	int index = 0;

	if (ei_decode_trace((char *)question, &index, &t) < 0)
		return -1;
	index = 0;
	if (ei_encode_trace(buf, &index, &t) < 0)
		return -1;
	ei_x_append_buf(&answer, buf, index);
	return 0;
}

/* Offset and number of bits, then the bits. */
static int bitstring(void)
{
	return ei_x_encode_bitstring(&answer, (char *)question + 8, number32(question), number32(question + 4));
}

/* A format, which gets the same arguments whatever it is. */
static int format(void)
{
	static const char *formats[] = {
		"{~a, ~i, [~s]}", "[~a, ~l , ~s]", "{~a,~u,~s,~c}", "{~a, ~i, ~s, ~c, ~f, {~p}}", "~a", "[]", "{}", "[a, 'B c', -1, 2.5, \"text\", {}]",
	};
	static erlang_pid pid = { "a@b", 1, 2, 3 };

	switch (question[0]) {
	case 0: return ei_x_format_wo_ver(&answer, formats[0], "atom", 12, "text");
	case 1: return ei_x_format_wo_ver(&answer, formats[1], "atom", 1L << 40, "text");
	case 2: return ei_x_format_wo_ver(&answer, formats[2], "atom", 1UL << 30, "", 'x');
	case 3: return ei_x_format_wo_ver(&answer, formats[3], "atom", -300, "text", 'x', 1.5, &pid);
	case 4: return ei_x_format_wo_ver(&answer, formats[4], "A b");
	default: return ei_x_format_wo_ver(&answer, formats[question[0]]);
	}
}

static int answer_to(int kind, int len)
{
	switch (kind) {
	case 'p': return print();
	case 'a': return encode_atom(len);
	case 'A': return decode_atom();
	case 'c': return decode_char();
	case 't': return trace();
	case 'b': return bitstring();
	case 'f': return format();
	case 'l': return ei_x_encode_long(&answer, (long)number64(question));
	case 'L': return ei_x_encode_longlong(&answer, number64(question));
	case 'u': return ei_x_encode_ulong(&answer, (unsigned long)number64(question));
	case 'U': return ei_x_encode_ulonglong(&answer, (unsigned long long)number64(question));
	}
	die("no question %c", kind);
}

int main(void)
{
	unsigned char head[5];

	ei_init();
	while (fread(head, sizeof head, 1, stdin) == 1) {
		unsigned len = number32(head + 1);
		int failed, n;

		if (len > sizeof question || (len && fread(question, len, 1, stdin) != 1))
			die("a question of %u bytes", len);
		ei_x_new(&answer);
		failed = answer_to(head[0], (int)len) < 0;
		n = failed ? 0 : answer.index;
		head[0] = (unsigned char)failed;
		head[1] = (unsigned char)(n >> 24);
		head[2] = (unsigned char)(n >> 16);
		head[3] = (unsigned char)(n >> 8);
		head[4] = (unsigned char)n;
		fwrite(head, sizeof head, 1, stdout);
		fwrite(answer.buff, 1, (size_t)n, stdout);
		fflush(stdout);
		ei_x_free(&answer);
	}
	return 0;
}
