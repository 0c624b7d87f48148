package epmd

import (
	"encoding/binary"
	"flag"
	"fmt"
	"hash/crc32"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// step is one request of a conversation that is held with a real epmd and with a Server.
type step struct {
	what string
	raw  []byte
	kept int    // length of the answer when the connection stays open; 0: it is closed
	as   string // name for closing the kept connection later
	// instead of a request: close that connection, or send a byte on it, when byte is set
	end  string
	byte bool
}

var steps = []step{
	{what: "names of nobody", raw: framed("n")},
	{what: "dump of nobody", raw: framed("d")},
	{what: "register a", raw: framed(string(alive2("a", ""))), kept: 6, as: "a"},
	{what: "a is taken", raw: framed(string(alive2("a", ""))), kept: 6},
	{what: "a is taken, 16 bits", raw: framed("x\x00\x07M\x00\x00\x05\x00\x05\x00\x01a\x00\x00"), kept: 4},
	{what: "register b with 16 bits", raw: framed("x\x12\x34h\x07\x00\x05\x00\x04\x00\x01b\x00\x02xy"), kept: 4, as: "b"},
	{what: "register with bytes behind", raw: framed(string(alive2("behind", "")) + "zzz"), kept: 6, as: "behind"},
	{what: "register the empty name with extra data", raw: framed(string(alive2("", "x"))), kept: 6, as: "empty"},
	{what: "the empty name is taken", raw: framed(string(alive2("", "")) + "z"), kept: 6},
	{what: "register the empty name", raw: framed(string(alive2("", "")))},
	{what: "register with NUL", raw: framed(string(alive2("a\x00b", "")))},
	{what: "register not UTF-8", raw: framed(string(alive2("\xff\xfe", ""))), kept: 6},
	{what: "register a surrogate", raw: framed(string(alive2("\xed\xa0\x80", ""))), kept: 6},
	{what: "register beyond Unicode", raw: framed(string(alive2("\xf4\x90\x80\x80", ""))), kept: 6},
	{what: "register 255 characters", raw: framed(string(alive2(strings.Repeat("y", 255), ""))), kept: 6, as: "y"},
	{what: "register 256 characters", raw: framed(string(alive2(strings.Repeat("y", 256), ""))), kept: 6},
	{what: "register 255 characters of 4 bytes", raw: framed(string(alive2(strings.Repeat("😀", 255), ""))), kept: 6, as: "😀"},
	{what: "register 256 characters of 4 bytes", raw: framed(string(alive2(strings.Repeat("😀", 256), ""))), kept: 6},
	{what: "register 1020 bytes of extra data", raw: framed(string(alive2("e", strings.Repeat("\x00", 1020)))), kept: 6, as: "e"},
	{what: "register 1021 bytes of extra data", raw: framed(string(alive2("e2", strings.Repeat("x", 1021)))), kept: 6},
	{what: "register with a name that looks like a line", raw: framed(string(alive2("x at port 1\nname y", ""))), kept: 6, as: "line"},
	{what: "register with port 0", raw: framed("x\x00\x00M\x00\x00\x06\x00\x05\x00\x01p\x00\x00"), kept: 6, as: "p"},
	{what: "name longer than the request", raw: framed("x\x00\x07M\x00\x00\x06\x00\x05\x00\x20a\x00\x00")},
	{what: "extra data longer than the request", raw: framed("x\x00\x07M\x00\x00\x06\x00\x05\x00\x01a\x00\x05x")},
	{what: "names", raw: framed("n")},
	{what: "names and more", raw: framed("nxyz")},
	{what: "dump", raw: framed("d")},
	{what: "resolve a", raw: framed("za")},
	{what: "resolve b", raw: framed("zb")},
	{what: "resolve a with NUL", raw: framed("za\x00")},
	{what: "resolve a with two NUL", raw: framed("za\x00\x00")},
	{what: "resolve e", raw: framed("ze")},
	{what: "resolve the name with port 0", raw: framed("zp")},
	{what: "resolve nobody", raw: framed("zzz")},
	{what: "resolve nothing", raw: framed("z")},
	{what: "resolve NUL", raw: framed("z\x00")},
	{what: "resolve not UTF-8", raw: framed("z\xff")},
	{what: "resolve 254 characters", raw: framed("z" + strings.Repeat("y", 254))},
	{what: "resolve 255 characters", raw: framed("z" + strings.Repeat("y", 255))},
	{what: "resolve 254 characters of 4 bytes", raw: framed("z" + strings.Repeat("😀", 254))},
	{what: "kill", raw: framed("k"), as: "strict"},
	{what: "stop a", raw: framed("sa"), as: "strict"},
	{what: "stop nobody", raw: framed("snobody")},
	{what: "stop nothing", raw: framed("s")},
	{what: "stop behind, and more", raw: framed("sbehind\x00zz")},
	{what: "names after stop", raw: framed("n")},
	{what: "unknown request", raw: framed("q")},
	{what: "request of OTP R2", raw: framed("a\x12\x34abc")},
	{what: "length 0", raw: []byte{0, 0}},
	{what: "length 3057", raw: framed("n" + strings.Repeat("x", 3056))},
	{what: "length 3058", raw: framed("n" + strings.Repeat("x", 3057))},
	{what: "length 65535", raw: framed("n" + strings.Repeat("x", 65534))},
	{what: "bytes behind the request", raw: append(framed("n"), 'x')},
	{end: "a"},
	{what: "resolve a once closed", raw: framed("za")},
	{end: "b"},
	{what: "dump of the closed", raw: framed("d")},
	{what: "register a again", raw: framed(string(alive2("a", ""))), kept: 6, as: "a"},
	{what: "register b again, with 32 bits", raw: framed(string(alive2("b", ""))), kept: 6, as: "b"},
	{what: "names in their new order", raw: framed("n")},
	{end: "e", byte: true},
	{what: "names without the one that talked", raw: framed("n")},
	{what: "dump with the one that talked", raw: framed("d")},
}

// hold holds the conversation and writes down what was said, except what must differ: port,
// descriptors, the clock in creations.
func hold(t *testing.T, addr string, relaxed bool) string {
	var said strings.Builder
	conns := map[string]net.Conn{}
	first := map[string]uint32{}
	port := make([]byte, 4)
	var n uint16
	_, err := fmt.Sscan(portOf(t, addr), &n)
	require.NoError(t, err)
	binary.BigEndian.PutUint16(port[2:], n)
	fd := regexp.MustCompile(`fd = \d+`)
	for _, s := range steps {
		var answer string
		switch {
		case s.end != "":
			if !relaxed || conns[s.end] != nil {
				if s.byte {
					write(t, conns[s.end], []byte("x"))
					_, err = conns[s.end].Read(make([]byte, 1))
					require.Error(t, err)
				}
				require.NoError(t, conns[s.end].Close())
			}
			// A real epmd looks at connections in no certain order: ask twice, so that it has seen
			// the end.
			ask(t, addr, framed("n"))
			continue
		case relaxed && s.as == "strict":
			continue
		case s.kept > 0:
			var conn net.Conn
			answer, conn = keptOpen(t, addr, string(s.raw[2:]), s.kept)
			if s.as != "" {
				conns[s.as] = conn
			}
			switch {
			case answer[1] != 0:
			case s.kept == 6:
				require.NotEmpty(t, s.as)
				creation := binary.BigEndian.Uint32([]byte(answer[2:]))
				require.GreaterOrEqual(t, creation, uint32(4))
				if first[s.as] == 0 {
					require.InDelta(t, time.Now().Unix(), creation, 60)
					first[s.as] = creation
				}
				answer = fmt.Sprint(answer[:2], creation-first[s.as], " after the first")
			default:
				require.Contains(t, []string{"\x00\x01", "\x00\x02", "\x00\x03"}, answer[2:])
				answer = answer[:2]
			}
		default:
			answer = ask(t, addr, s.raw)
			answer = strings.Replace(answer, string(port), "PORT", 1)
			answer = fd.ReplaceAllString(answer, "fd = FD")
		}
		// Long answers would hide a difference in the test's output.
		fmt.Fprintf(&said, "%s: %.200q, %d bytes, sum %x\n", s.what, answer, len(answer), crc32.ChecksumIEEE([]byte(answer)))
	}
	for _, c := range conns {
		c.Close()
	}
	return said.String()
}

var record = flag.Bool("record", false, "write down in testdata what the epmd on the PATH says")

// What a real epmd has said is in testdata; a Server says the same, and so does the epmd here.
func TestServerSaysWhatRealEpmdSays(t *testing.T) {
	for name, relaxed := range map[string]bool{"strict": false, "relaxed": true} {
		t.Run(name, func(t *testing.T) {
			file, args := filepath.Join("testdata", name+".txt"), relaxedIf(relaxed)
			if *record {
				require.NoError(t, os.WriteFile(file, []byte(hold(t, startRealEpmd(t, "", args...).addr, relaxed)), 0o600))
			}
			said, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(said), hold(t, startServer(t, &Server{Relaxed: relaxed}), relaxed))
			t.Run("real epmd", func(t *testing.T) {
				require.Equal(t, string(said), hold(t, startRealEpmd(t, "", args...).addr, relaxed))
			})
		})
	}
}
