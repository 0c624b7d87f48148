package ei_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"flag"
	"math"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/need"
)

var update = flag.Bool("update", false, "make the vectors in testdata anew, with the erl on the PATH")

// A vector is a term as a runtime system writes it. The table of them is used to decode, to encode,
// to seed the fuzz targets, and to ask a real runtime system.
type vector struct {
	name string
	data []byte // with version byte
	text string // AppendText
	expr string // an Erlang expression, empty when text is one
}

const vectorFile = "testdata/terms.txt"

// readVectors gives the table and the comment that heads it.
func readVectors(tb testing.TB) (vs []vector, head string) {
	tb.Helper()
	file, err := os.ReadFile(vectorFile)
	require.NoError(tb, err)
	for line := range strings.Lines(string(file)) {
		if strings.HasPrefix(line, "#") {
			head += line
			continue
		}
		col := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		require.Len(tb, col, 4, "%q", line)
		data, err := hex.DecodeString(col[1])
		require.NoError(tb, err, "%s", col[0])
		vs = append(vs, vector{name: col[0], data: data, text: col[2], expr: col[3]})
	}
	return vs, head
}

func TestVectors(t *testing.T) {
	if *update {
		updateVectors(t)
	}
	vs, _ := readVectors(t)
	require.GreaterOrEqual(t, len(vs), 80)
	for _, v := range vs {
		t.Run(v.name, func(t *testing.T) {
			term := decode(t, v.data)

			again := marshal(t, term)
			require.Equal(t, v.data, again, "encoded again")

			require.Equal(t, v.text, term.String())
			if !strings.Contains(v.text, "#Fun<") {
				parsed := parsed(t, v.text)
				require.Equal(t, v.text, parsed.String())
				if v.since() == 0 { // the text does not tell whether a native record is exported
					require.True(t, ei.Identical(term, parsed), "%v\n%v", term, parsed)
				}
			}

			c := ei.NewCursor(v.data)
			require.NoError(t, c.Version())
			raw, err := c.Raw()
			require.NoError(t, err)
			require.Zero(t, c.Len())
			lazy, err := raw.Decode()
			require.NoError(t, err)
			require.Equal(t, term, lazy)
			require.Zero(t, ei.Compare(term, raw))

			for n := range min(len(v.data), 2000) {
				_, err := ei.Decode(v.data[:n])
				require.ErrorIs(t, err, ei.ErrTruncated, "the first %d bytes", n)
			}
		})
	}
}

// TestVectorsWithErl asks real runtime systems whether they write the bytes of the table, and read
// the text.
func TestVectorsWithErl(t *testing.T) {
	for _, erl := range needErl(t) {
		release, err := strconv.Atoi(askErl(t, erl, []string{"release"})[0])
		require.NoError(t, err)
		t.Run("OTP "+strconv.Itoa(release), func(t *testing.T) { checkVectors(t, erl, release) })
	}
}

// needErl gives what runtimes gives. Without any it skips the test, or fails it where a peer is
// required.
func needErl(t *testing.T) (paths []string) {
	t.Helper()
	if paths = runtimes(); len(paths) == 0 {
		need.Missing(t, "not checked with a real runtime system: no erl on the PATH, nor named by CNODE_TEST_OTP")
	}
	return paths
}

// runtimes gives the erl on the PATH and those that the variable CNODE_TEST_OTP lists, as
// "25=/usr/bin/erl 27=…".
func runtimes() (paths []string) {
	for _, entry := range strings.Fields(os.Getenv("CNODE_TEST_OTP")) {
		if _, path, ok := strings.Cut(entry, "="); ok {
			paths = append(paths, path)
		}
	}
	if path, err := exec.LookPath("erl"); err == nil && !slices.Contains(paths, path) {
		paths = append(paths, path)
	}
	return paths
}

func checkVectors(t *testing.T, erl string, release int) {
	vs, _ := readVectors(t)
	var asked []string
	var about []vector
	ask := func(v vector, question string) { asked, about = append(asked, question), append(about, v) }
	for _, v := range vs {
		if release < v.since() || release > v.until() {
			continue
		}
		if v.expr != "" {
			ask(v, "expr "+v.expr)
		}
		if v.since() == 0 && !hasIdent(v.text) {
			ask(v, "term "+v.text)
		}
		ask(v, "back "+hex.EncodeToString(v.data))
	}
	for i, got := range askErl(t, erl, asked) {
		v := about[i]
		theirs, err := hex.DecodeString(got)
		require.NoError(t, err, "%s: %s: %s", v.name, asked[i], got)
		if strings.Contains(v.text, "#{") { // the order of pairs is the runtime system's own
			a := decode(t, v.data)
			b := decode(t, theirs)
			require.True(t, ei.Identical(a, b), "%s: %s: %v", v.name, asked[i], b)
			continue
		}
		require.Equal(t, v.data, theirs, "%s: %s", v.name, asked[i])
	}
}

// since gives the first release that has such a term, or writes it like this; Erlang's parser does
// not know its text. 0: all have it.
func (v vector) since() int {
	_, since, _ := strings.Cut(v.name, "since OTP ")
	n, _ := strconv.Atoi(since)
	return n
}

// until gives the last release that writes the term like this.
func (v vector) until() int {
	if _, until, ok := strings.Cut(v.name, "until OTP "); ok {
		n, _ := strconv.Atoi(until)
		return n
	}
	return math.MaxInt
}

// hasIdent reports whether a text has parts that Erlang's parser does not read.
func hasIdent(text string) bool {
	return strings.Contains(text, "#Pid<") || strings.Contains(text, "#Ref<") || strings.Contains(text, "#Port<") ||
		strings.Contains(text, "#Fun<")
}

func updateVectors(t *testing.T) {
	vs, head := readVectors(t)
	var asked []string
	for _, v := range vs {
		switch {
		case v.since() > 0: // the erl on the PATH may be older
			asked = append(asked, "back "+hex.EncodeToString(v.data))
			continue
		case v.expr == "":
			asked = append(asked, "expr "+v.text)
		default:
			asked = append(asked, "expr "+v.expr)
		}
	}
	out := bytes.NewBufferString(head)
	for i, answer := range askErl(t, "erl", asked) {
		v := vs[i]
		if v.since() > 0 {
			out.WriteString(strings.Join([]string{v.name, hex.EncodeToString(v.data), v.text, v.expr}, "\t") + "\n")
			continue
		}
		data, err := hex.DecodeString(answer)
		require.NoError(t, err, "%s: %s", v.name, answer)
		term := decode(t, data)
		text, expr := term.String(), strings.TrimPrefix(asked[i], "expr ")
		if text == expr {
			expr = ""
		}
		out.WriteString(strings.Join([]string{v.name, answer, text, expr}, "\t") + "\n")
	}
	require.NoError(t, os.WriteFile(vectorFile, out.Bytes(), 0o644))
}

// askErl asks a runtime system to evaluate an expression ("expr …"), parse a term ("term …") or
// decode one ("back " and hexadecimal digits), or for its "release", or for the "order …" of all
// pairs, and gives what term_to_binary makes of each, in hexadecimal, or "error …".
func askErl(t *testing.T, erl string, questions []string) []string {
	t.Helper()
	const program = `
		Answer = fun
			(<<"expr ", Text/binary>>) ->
				{ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Text) ++ " ."),
				{ok, Exprs} = erl_parse:parse_exprs(Tokens),
				{value, Value, _} = erl_eval:exprs(Exprs, erl_eval:new_bindings()),
				Value;
			(<<"term ", Text/binary>>) ->
				{ok, Tokens, _} = erl_scan:string(unicode:characters_to_list(Text) ++ " ."),
				{ok, Value} = erl_parse:parse_term(Tokens),
				Value;
			(<<"back ", Hex/binary>>) ->
				binary_to_term(binary:decode_hex(Hex))
		end,
		{ok, File} = file:read_file(os:getenv("QUESTIONS")),
		[io:put_chars([try
			case binary:decode_hex(Q) of
				<<"release">> -> erlang:system_info(otp_release);
				<<"order ", Hexes/binary>> ->
					Terms = [binary_to_term(binary:decode_hex(H)) || H <- binary:split(Hexes, <<" ">>, [global])],
					[if A < B -> $<; A == B -> $=; true -> $> end || A <- Terms, B <- Terms];
				Question -> binary:encode_hex(term_to_binary(Answer(Question), [{minor_version, 2}]))
			end
		catch
			_:Reason -> io_lib:format("error ~0tw", [Reason])
		end, $\n]) || Q <- binary:split(File, <<"\n">>, [global, trim])],
		halt().`
	file := t.TempDir() + "/questions"
	var text bytes.Buffer
	for _, q := range questions {
		text.WriteString(hex.EncodeToString([]byte(q)) + "\n")
	}
	require.NoError(t, os.WriteFile(file, text.Bytes(), 0o600))
	cmd := exec.Command(erl, "-noshell", "-noinput", "+S", "1", "-eval", program)
	cmd.Env = append(os.Environ(), "QUESTIONS="+file, "ERL_CRASH_DUMP=/dev/null")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	var answers []string
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, "error") {
			line = strings.ToLower(line)
		}
		answers = append(answers, line)
	}
	require.Len(t, answers, len(questions), "%s", out)
	return answers
}
