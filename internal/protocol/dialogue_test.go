package protocol

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes/dist"
)

// A dialogue is what went over a connection with a real Erlang node, packet by
// packet, without lengths. Its file has a line for each: "> " and hexadecimal
// bytes for what we sent, "< " for what the node sent, "< closed" for its end
// of the connection, and "#" for remarks. " 00*400 " among the bytes stands for
// 400 times this one.
type dialogue struct {
	lines []line
	at    int
	t     testing.TB
}

type line struct {
	ours   bool
	closed bool
	bytes  []byte
	note   string // written before the line, not read back
}

const dialogues = "testdata/dialogues"

func (d *dialogue) save(t testing.TB, path, title string) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# %s\n", title)
	for _, l := range d.lines {
		if l.note != "" {
			fmt.Fprintf(&b, "# %s\n", l.note)
		}
		mark, text := "<", shorten(l.bytes)
		if l.ours {
			mark = ">"
		}
		if l.closed {
			text = "closed"
		}
		fmt.Fprintf(&b, "%s %s\n", mark, text)
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
}

// shorten gives bytes in hexadecimal, with long repetitions of one byte as a count.
func shorten(b []byte) string {
	var out strings.Builder
	for len(b) > 0 {
		same := 1
		for same < len(b) && b[same] == b[0] {
			same++
		}
		if same >= 100 {
			fmt.Fprintf(&out, " %02x*%d ", b[0], same)
		} else {
			out.WriteString(hex.EncodeToString(b[:same]))
		}
		b = b[same:]
	}
	return strings.TrimSpace(out.String())
}

func lengthen(t testing.TB, text string) (b []byte) {
	for part := range strings.FieldsSeq(text) {
		one, times, repeated := strings.Cut(part, "*")
		n := 1
		if repeated {
			var err error
			n, err = strconv.Atoi(times)
			require.NoError(t, err)
		}
		b = append(b, bytes.Repeat(unhex(t, one), n)...)
	}
	return b
}

func load(t testing.TB, path string) *dialogue {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	d := &dialogue{t: t}
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		mark, text, _ := strings.Cut(s.Text(), " ")
		if mark == "#" {
			continue
		}
		require.Contains(t, []string{"<", ">"}, mark)
		l := line{ours: mark == ">", closed: text == "closed"}
		if !l.closed {
			l.bytes = lengthen(t, text)
		}
		d.lines = append(d.lines, l)
	}
	require.NoError(t, s.Err())
	return d
}

// ReadPacket gives what the node sent next.
func (d *dialogue) ReadPacket() ([]byte, error) {
	if d.at == len(d.lines) {
		return nil, io.EOF
	}
	l := d.lines[d.at]
	require.False(d.t, l.ours, "line %d: we read where we wrote when this was recorded", d.at)
	d.at++
	if l.closed {
		return nil, io.EOF
	}
	return l.bytes, nil
}

// WritePackets compares what we write with what we wrote in the recording.
func (d *dialogue) WritePackets(packets ...[]byte) error {
	for _, p := range packets {
		require.Less(d.t, d.at, len(d.lines), "%x written behind the end", p)
		l := d.lines[d.at]
		require.True(d.t, l.ours, "line %d: we write where we read when this was recorded", d.at)
		require.Equal(d.t, hex.EncodeToString(l.bytes), hex.EncodeToString(p), "line %d", d.at)
		d.at++
	}
	return nil
}

const (
	erlangName   = "otp@127.0.0.1"
	erlangCookie = "secret"
)

// A scenario is one handshake with a real node, played the same way when it is
// recorded and when it is replayed.
type scenario struct {
	name    string
	self    Self
	accept  bool // we accept
	ao      InitiateOptions
	bo      RespondOptions
	dynamic bool   // the Erlang node asks for a name
	hold    bool   // a connection under the same name is there already
	race    bool   // the node is connecting to us at the same time
	cookie  string // what the node thinks our cookie is; "" is the right one

	err     error // the outcome; nil is a connection
	phase   string
	status  dist.Status
	frames  func(t testing.TB, r *recorder) // what to play on the connection
	release int                             // the oldest one that can play it
	ops     []dist.Op                       // the operations that come in
	// failsBefore tells what older releases do.
	failsBefore map[int]error
}

// self gives our own side under a name of its own for each scenario, for the
// node remembers whom it knows.
func self(name string, flags dist.Flags) Self {
	return Self{Name: name + "@127.0.0.1", Cookie: erlangCookie, Creation: 0x01020304, Challenge: 0x76543210, Flags: flags}
}

// flagsRecorded is what we announce in dialogues without other flags.
const flagsRecorded = dist.FlagsLibei | dist.FlagDistMonitorName | dist.FlagSpawn | dist.FlagExitPayload |
	dist.FlagSendSender | dist.FlagAlias

var scenarios = []scenario{
	{name: "initiate", self: self("go1", flagsRecorded), ao: InitiateOptions{Want: erlangName}, status: StatusOK},
	{name: "initiate-libei", self: self("go2", dist.FlagsLibei), ao: InitiateOptions{Want: erlangName}, status: StatusOK},
	{
		name: "initiate-dynamic", status: StatusNamed,
		self: Self{Name: "127.0.0.1", Dynamic: true, Cookie: erlangCookie, Challenge: 0x76543210, Flags: flagsRecorded},
	},
	{
		name: "initiate-alive-true", self: self("go3", flagsRecorded), hold: true, status: StatusAlive,
		ao: InitiateOptions{AliveAnswer: func(string) bool { return true }},
	},
	{
		name: "initiate-alive-false", self: self("go4", flagsRecorded), hold: true, status: StatusAlive,
		ao:  InitiateOptions{AliveAnswer: func(string) bool { return false }},
		err: dist.ErrAlive, phase: PhaseAliveAnswer,
	},
	{name: "initiate-nok", self: self("aa1", flagsRecorded), race: true, status: StatusNok, err: dist.ErrNok, phase: PhaseStatus},
	{name: "initiate-ok-simultaneous", self: self("zz1", flagsRecorded), race: true, status: StatusOKSimultaneous},
	{
		name: "initiate-not-allowed", self: self("go5", dist.FlagsLibei&^(dist.FlagMapTag|dist.FlagMandatory25Digest)),
		status: StatusNotAllowed, err: dist.ErrNotAllowed, phase: PhaseStatus,
	},
	{
		name: "initiate-bad-cookie", status: StatusOK, err: io.EOF, phase: PhaseChallengeAck,
		self: Self{Name: "go6@127.0.0.1", Cookie: "other", Challenge: 0x76543210, Flags: flagsRecorded},
	},
	{
		name: "initiate-version-5", self: self("go7", flagsRecorded), ao: InitiateOptions{Version5: true}, status: StatusOK,
		failsBefore: map[int]error{26: io.EOF},
	},
	{
		name: "initiate-wrong-peer", self: self("go8", flagsRecorded), ao: InitiateOptions{Want: "third@127.0.0.1"},
		status: StatusOK, err: dist.ErrWrongPeer, phase: PhaseChallenge,
	},

	{name: "respond", accept: true, self: self("go11", flagsRecorded), status: StatusOK},
	{
		name: "respond-ok-simultaneous", accept: true, self: self("go12", flagsRecorded),
		bo: RespondOptions{Decide: decide(Verdict{Status: StatusOKSimultaneous})}, status: StatusOKSimultaneous,
	},
	{
		name: "respond-nok", accept: true, self: self("go13", flagsRecorded),
		bo:     RespondOptions{Decide: decide(Verdict{Status: StatusNok})},
		status: StatusNok, err: dist.ErrNok, phase: PhaseStatus,
	},
	{
		name: "respond-not-allowed", accept: true, self: self("go14", flagsRecorded),
		bo:     RespondOptions{Decide: decide(Verdict{Status: StatusNotAllowed})},
		status: StatusNotAllowed, err: dist.ErrNotAllowed, phase: PhaseStatus,
	},
	{
		name: "respond-alive", accept: true, self: self("go15", flagsRecorded),
		bo: RespondOptions{Decide: decide(Verdict{Status: StatusAlive})}, status: StatusAlive,
	},
	{
		name: "respond-bad-cookie", accept: true, self: self("go16", flagsRecorded), cookie: "other",
		status: StatusOK, err: dist.ErrBadCookie, phase: PhaseChallengeReply,
	},
	{
		name: "respond-named", accept: true, dynamic: true, self: self("go17", flagsRecorded),
		bo:     RespondOptions{Decide: decide(Verdict{Status: StatusNamed, Name: "GIVEN1@127.0.0.1", Creation: 0x0A0B0C0D})},
		status: StatusNamed,
	},

	{name: "signals", accept: true, self: self("go21", flagsRecorded), status: StatusOK, frames: playSignals, ops: opsOfDefault},
	{name: "signals-libei", accept: true, self: self("go22", dist.FlagsLibei), status: StatusOK, frames: playSignals, ops: opsOfLibei},
	{
		name: "signals-monitors", accept: true, self: self("go24", dist.FlagsLibei|dist.FlagDistMonitorName), status: StatusOK,
		frames: playSignals, ops: append([]dist.Op{dist.OpMonitorP, dist.OpDemonitorP, dist.OpMonitorPExit}, opsOfLibei...),
	},
	{
		name: "signals-altact", accept: true, self: self("go23", flagsRecorded|dist.FlagAltactSig), status: StatusOK,
		frames: playAltact, release: 28, ops: []dist.Op{dist.OpAltactSigSend, dist.OpPayloadExit2},
	},
	{
		name: "headers", accept: true, self: self("go25", flagsRecorded|dist.FlagDistHdrAtomCache|dist.FlagFragments), status: StatusOK,
		frames: playHeaders, ops: opsOfHeaders,
	},
	{
		name: "headers-altact", accept: true, status: StatusOK, frames: playHeaders, release: 28,
		self: self("go26", flagsRecorded|dist.FlagDistHdrAtomCache|dist.FlagFragments|dist.FlagAltactSig), ops: opsOfHeadersAltact,
	},
}

// opsOfDefault is what an Erlang node sends in playSignals to a node that
// announces flagsRecorded, and opsOfLibei to one that announces FlagsLibei. (No
// node sends EXIT2_TT: exit/2 does not trace. And none sends any message about
// monitors unless FlagDistMonitorName stands beside FlagDistMonitor.)
var (
	opsOfDefault = []dist.Op{
		dist.OpLink, dist.OpRegSend, dist.OpGroupLeader, dist.OpRegSend.Traced(), dist.OpMonitorP, dist.OpDemonitorP,
		dist.OpSendSender, dist.OpSendSender.Traced(),
		dist.OpPayloadExit, dist.OpPayloadExit.Traced(), dist.OpPayloadExit2, dist.OpPayloadMonitorPExit,
		dist.OpSpawnRequest, dist.OpSpawnRequest.Traced(), dist.OpSpawnReply, dist.OpSpawnReply.Traced(),
		dist.OpAliasSend, dist.OpAliasSend.Traced(),
		dist.OpUnlinkID, dist.OpUnlinkIDAck,
	}
	opsOfLibei = []dist.Op{
		dist.OpLink, dist.OpSend, dist.OpExit, dist.OpRegSend, dist.OpGroupLeader, dist.OpExit2,
		dist.OpSend.Traced(), dist.OpExit.Traced(), dist.OpRegSend.Traced(),
		dist.OpUnlinkID, dist.OpUnlinkIDAck,
	}
)

// expect compares the outcome of a handshake with the scenario.
func (s scenario) expect(t testing.TB, release int, peer dist.Peer, err error) {
	want, phase := s.err, s.phase
	for before, other := range s.failsBefore {
		if release < before {
			want, phase = other, PhaseStatus
		}
	}
	if want != nil {
		require.ErrorIs(t, err, want)
		var he *dist.HandshakeError
		require.ErrorAs(t, err, &he)
		require.Equal(t, phase, he.Phase)
		return
	}
	require.NoError(t, err)
	require.Equal(t, s.status, peer.Status)
	require.NotZero(t, peer.Creation)
	require.Zero(t, peer.Flags.Missing(dist.Mandatory26))
	require.Equal(t, s.self.announced().Negotiate(peer.Announced), peer.Flags)
	for _, name := range peer.Announced.Names() {
		require.Contains(t, name, "DFLAG_", "a flag of OTP %d has no name", release)
	}
	switch {
	case s.dynamic:
		require.Equal(t, "GIVEN1@127.0.0.1", peer.Name)
	default:
		require.Equal(t, erlangName, peer.Name)
	}
	if s.self.Dynamic {
		require.Regexp(t, `^[0-9A-Z]+@127\.0\.0\.1$`, peer.SelfName)
		require.NotZero(t, peer.SelfCreation)
	} else {
		require.Equal(t, s.self.Name, peer.SelfName)
	}
}

// shake runs our side.
func (s scenario) shake(c PacketConn) (dist.Peer, error) {
	if !s.accept {
		return Initiate(c, s.self, s.ao)
	}
	name, err := ReadName(c)
	if err != nil {
		return dist.Peer{}, err
	}
	return Respond(c, s.self, name, s.bo)
}

// TestDialogues plays the recorded dialogues with real nodes again: the same
// bytes must come in and go out, with the same outcome.
func TestDialogues(t *testing.T) {
	releases, err := filepath.Glob(filepath.Join(dialogues, "otp*"))
	require.NoError(t, err)
	require.NotEmpty(t, releases)
	for _, dir := range releases {
		var release int
		_, err := fmt.Sscanf(filepath.Base(dir), "otp%d", &release)
		require.NoError(t, err)
		for _, s := range scenarios {
			if release < s.release {
				continue
			}
			t.Run(filepath.Base(dir)+"/"+s.name, func(t *testing.T) {
				d := load(t, filepath.Join(dir, s.name+".txt"))
				peer, err := s.shake(d)
				s.expect(t, release, peer, err)
				switch {
				case s.frames == nil:
					require.Equal(t, len(d.lines), d.at, "packets are left over")
					return
				case peer.Flags.Has(dist.FlagDistHdrAtomCache):
					replayHeaders(t, d.lines[d.at:], peer.Flags, s.ops)
					return
				}
				replayFrames(t, d.lines[d.at:], peer.Flags, s.ops)
			})
		}
	}
}

// replayFrames reads every recorded frame, writes it again, and demands the
// same bytes; ops are the operations that the node must have used.
func replayFrames(t *testing.T, lines []line, flags dist.Flags, ops []dist.Op) {
	seen := map[dist.Op]bool{}
	r := NewReader(flags, Limits{}, ei.NewAtomTable(0))
	for i, l := range lines {
		var ctl dist.Control
		a, err := r.ReadFrame(l.bytes, &ctl)
		require.NoError(t, err, "frame %d", i)
		if a.Kind == KindTick {
			continue
		}
		require.Equal(t, KindPassThrough, a.Kind)
		require.True(t, flags.Has(ctl.Op.Flags()), "%v without its flags", ctl.Op)
		if !l.ours {
			seen[ctl.Op] = true
		}
		again, err := AppendFrame(nil, &ctl, a.Payload)
		require.NoError(t, err)
		require.Equal(t, hex.EncodeToString(l.bytes), hex.EncodeToString(again[4:]), "frame %d, %v", i, ctl.Op)
	}
	for _, op := range ops {
		require.True(t, seen[op], "no %v in the dialogue", op)
	}
	for op := range seen {
		require.Contains(t, ops, op)
	}
}
