package protocol

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes/dist"
)

var update = flag.Bool("update", false, "record the dialogues of testdata/dialogues anew, with every Erlang that internal/test/otp finds")

// patience bounds everything that waits for a node while recording.
const patience = 20 * time.Second

// TestRecord writes the dialogues that TestDialogues reads.
func TestRecord(t *testing.T) {
	if !*update {
		t.Skip("only with -update: TestDialogues replays what this test has recorded")
	}
	otp.Each(t, func(t *testing.T, release otp.Release) {
		port := release.Epmd(t)
		node := release.Start(t, otp.Options{Name: erlangName, Cookie: erlangCookie, EpmdPort: port})
		version := node.Do(t, `{ok, V} = file:read_file(filename:join([code:root_dir(), "releases", erlang:system_info(otp_release),
			"OTP_VERSION"])), V`)
		version = strings.Trim(version, `<">\n`)
		for _, s := range scenarios {
			if release.Number < s.release {
				continue
			}
			t.Run(s.name, func(t *testing.T) {
				node := node
				if s.dynamic {
					node = release.Start(t, otp.Options{Name: "undefined@127.0.0.1", Cookie: erlangCookie, EpmdPort: port})
				}
				r := &recorder{t: t, node: node, epmdPort: port, dialogue: &dialogue{t: t}, scenario: s}
				r.record(release.Number)
				path := filepath.Join(dialogues, release.String(), s.name+".txt")
				r.dialogue.save(t, path, fmt.Sprintf("%s with OTP %s, recorded by go test -run TestRecord -update", s.name, version))
			})
		}
	})
}

// A recorder is our side of a real connection; it notes every packet.
type recorder struct {
	t        testing.TB
	node     *otp.Node
	epmdPort int
	scenario scenario

	conn   net.Conn
	prefix int // bytes of a length

	mu       sync.Mutex
	dialogue *dialogue

	headers // with FlagDistHdrAtomCache
}

func (r *recorder) note(l line) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.dialogue.lines = append(r.dialogue.lines, l)
}

func (r *recorder) ReadPacket() ([]byte, error) {
	var length [4]byte
	_, err := io.ReadFull(r.conn, length[4-r.prefix:])
	if err == nil {
		packet := make([]byte, binary.BigEndian.Uint32(length[:]))
		if _, err = io.ReadFull(r.conn, packet); err == nil {
			r.note(line{bytes: packet, note: r.describe(packet, false)})
			return packet, nil
		}
	}
	if errors.Is(err, io.EOF) {
		r.note(line{closed: true})
	}
	return nil, err
}

func (r *recorder) WritePackets(packets ...[]byte) error {
	for _, p := range packets {
		r.note(line{ours: true, bytes: p, note: r.describe(p, true)})
		var length [4]byte
		binary.BigEndian.PutUint32(length[:], uint32(len(p)))
		if _, err := r.conn.Write(append(length[4-r.prefix:], p...)); err != nil {
			return err
		}
	}
	return nil
}

// describe gives the terms of a frame as Erlang text, for the reader of the file.
func (r *recorder) describe(p []byte, ours bool) string {
	if r.prefix != 4 || len(p) == 0 {
		return ""
	}
	if r.in != nil {
		return r.describeHeaded(p, ours)
	}
	var ctl dist.Control
	a, err := NewReader(^dist.Flags(0), Limits{}, nil).ReadFrame(p, &ctl)
	payload := a.Payload
	require.NoError(r.t, err)
	text := ctl.Op.String()
	if control, err := AppendControl(nil, &ctl); err == nil {
		text += " " + ei.Raw(control).String()
	}
	if payload != nil {
		text += " " + payload.String()
	}
	return text
}

func (r *recorder) record(release int) {
	t := r.t
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	if !r.scenario.self.Dynamic {
		r.publish(listener.Addr().(*net.TCPAddr).Port)
	}
	name := "'" + r.scenario.self.Name + "'"
	if r.scenario.cookie != "" {
		r.node.Do(t, "erlang:set_cookie("+name+", "+r.scenario.cookie+")")
	}
	if r.scenario.hold {
		first := r.dial()
		defer first.Close()
		_, err := Initiate(&recorder{t: t, conn: first, prefix: 2, dialogue: &dialogue{}}, r.scenario.self, InitiateOptions{})
		require.NoError(t, err)
		// The acknowledgement goes out before the node calls the connection up;
		// until then its answer to another one is nok.
		r.node.Do(t, "(fun Up() -> lists:member("+name+", nodes(connected)) orelse (receive after 1 -> Up() end) end)()")
	}
	connected := func() string { return "" }
	if r.scenario.accept || r.scenario.race {
		connected = r.node.Async(t, "net_kernel:connect_node("+name+")")
		require.NoError(t, listener.(*net.TCPListener).SetDeadline(time.Now().Add(patience)))
		r.conn, err = listener.Accept()
		require.NoError(t, err)
	}
	if r.scenario.race {
		// Its attempt is under way: we have it, and leave its name unanswered.
		theirs := r.conn
		defer theirs.Close()
	}
	if !r.scenario.accept {
		r.conn = r.dial()
	}
	defer r.conn.Close()
	require.NoError(t, r.conn.SetDeadline(time.Now().Add(patience)))
	r.prefix = 2
	peer, err := r.scenario.shake(r)
	r.scenario.expect(t, release, peer, err)
	if r.scenario.frames != nil {
		r.prefix = 4
		require.Equal(t, "true", connected())
		if peer.Flags.Has(dist.FlagDistHdrAtomCache) {
			r.in, r.out = NewReader(peer.Flags, Limits{}, nil), NewReader(peer.Flags, Limits{}, nil)
		}
		r.scenario.frames(t, r)
	}
}

func (r *recorder) dial() net.Conn {
	port := r.node.Do(r.t, `{port, P, _} = erl_epmd:port_please("otp", {127,0,0,1}), P`)
	conn, err := net.DialTimeout("tcp", "127.0.0.1:"+port, patience)
	require.NoError(r.t, err)
	require.NoError(r.t, conn.SetDeadline(time.Now().Add(patience)))
	return conn
}

// publish tells the port mapper where we listen, until the test ends.
func (r *recorder) publish(port int) {
	conn, err := net.DialTimeout("tcp", "127.0.0.1:"+strconv.Itoa(r.epmdPort), patience)
	require.NoError(r.t, err)
	r.t.Cleanup(func() { conn.Close() })
	require.NoError(r.t, conn.SetDeadline(time.Now().Add(patience)))
	alive, _, err := dist.SplitName(r.scenario.self.Name)
	require.NoError(r.t, err)
	request := binary.BigEndian.AppendUint16([]byte{0, 0, 'x'}, uint16(port))
	request = append(request, 'h', 0, 0, 6, 0, 5, 0, byte(len(alive)))
	request = append(append(request, alive...), 0, 0)
	binary.BigEndian.PutUint16(request, uint16(len(request)-2))
	_, err = conn.Write(request)
	require.NoError(r.t, err)
	var answer [6]byte
	_, err = io.ReadFull(conn, answer[:])
	require.NoError(r.t, err)
	require.Equal(r.t, []byte{'v', 0}, answer[:2])
}

// send writes one frame.
func (r *recorder) send(ctl dist.Control, payload any) {
	r.t.Helper()
	var term []byte
	if payload != nil {
		var err error
		term, err = ei.Append(nil, payload)
		require.NoError(r.t, err)
	}
	frame, err := AppendFrame(nil, &ctl, term)
	require.NoError(r.t, err)
	require.NoError(r.t, r.WritePackets(frame[4:]))
}

// frames is a reader that runs beside the script of a recording.
type frames struct {
	r    *recorder
	came chan dist.Control
	left map[dist.Op]bool // not seen yet
	done chan struct{}
}

func (r *recorder) readFrames(ops []dist.Op) *frames {
	f := &frames{r: r, came: make(chan dist.Control, 1000), left: map[dist.Op]bool{}, done: make(chan struct{})}
	for _, op := range ops {
		f.left[op] = true
	}
	go func() {
		defer close(f.done)
		for len(f.left) > 0 {
			p, err := r.ReadPacket()
			if err != nil {
				return
			}
			var ctl dist.Control
			if a, err := NewReader(^dist.Flags(0), Limits{}, nil).ReadFrame(p, &ctl); err != nil || a.Kind != KindPassThrough {
				continue
			}
			delete(f.left, ctl.Op)
			f.came <- ctl
		}
	}()
	return f
}

// await gives the next control message of this operation.
func (f *frames) await(op dist.Op) dist.Control {
	f.r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		select {
		case ctl := <-f.came:
			if ctl.Op == op {
				return ctl
			}
		case <-ctx.Done():
			require.FailNow(f.r.t, "no frame", "%v", op)
		}
	}
}

// playSignals makes the node send every signal it has, and answers so that it
// sends the answers too.
func playSignals(t testing.TB, r *recorder) {
	self := ei.Atom(r.scenario.self.Name)
	spawns := r.scenario.self.announced().Has(dist.FlagSpawn)
	f := r.readFrames(r.scenario.ops)
	do := func(expr string) { r.node.Do(t, strings.ReplaceAll(expr, "Go", "'"+string(self)+"'")) }
	pid := ei.Pid{Node: self, ID: 7, Serial: 1, Creation: r.scenario.self.Creation}
	ref := func(n uint32) ei.Ref {
		return ei.Ref{Node: self, Creation: r.scenario.self.Creation, Len: 3, ID: [5]uint32{n, 2, 3}}
	}
	atom := func(a ei.Atom) ei.Raw {
		raw, err := ei.AppendAtom(nil, a)
		require.NoError(t, err)
		return raw
	}

	do(`{peer, Go} ! hello`)
	main := f.await(dist.OpRegSend).From
	r.send(dist.Control{Op: dist.OpSend, To: main}, ei.Tuple{ei.Atom("go"), pid, ref(1)})
	do(`receive {go, P, A} -> put(pid, P), put(alias, A) end`)
	do(`get(pid) ! [plain, 1.5, #{a => "b"}, <<"binary">>]`)
	do(`get(alias) ! aliased`)
	do(`link(get(pid)), unlink(get(pid))`)
	unlink := f.await(dist.OpUnlinkID)
	r.send(dist.Control{Op: dist.OpUnlinkIDAck, ID: unlink.ID, From: pid, To: unlink.From}, nil)
	do(`demonitor(monitor(process, get(pid)))`)
	do(`demonitor(monitor(process, {peer, Go}))`)
	do(`exit(get(pid), because)`)
	do(`group_leader(group_leader(), get(pid))`)
	do(`P = get(pid), spawn(fun() -> link(P), exit({shutdown, 42}) end)`)
	do(`spawn_request(Go, m, f, [a, 1], [monitor, {reply, error_only}])`)
	do(`spawn_request(Go, m, f, [], [])`)
	do(`spawn_request(Go, 'Elixir.Module', go, [#{}], [link, {monitor, [{alias, reply_demonitor}]}, {reply_tag, {my, tag}},
		{priority, high}])`)

	// The same with a trace token.
	do(`seq_trace:set_token(label, 17), seq_trace:set_token(send, true)`)
	do(`get(pid) ! traced, get(alias) ! traced, {peer, Go} ! traced, exit(get(pid), traced)`)
	do(`spawn_request(Go, m, f, [traced], [monitor])`)
	do(`P = get(pid), spawn(fun() -> seq_trace:set_token(label, 18), link(P), exit(traced) end)`)
	do(`seq_trace:set_token([])`)

	// What the node answers to ours.
	r.send(dist.Control{Op: dist.OpMonitorP, From: pid, ToName: "nobody", Ref: ref(2)}, nil)
	do(`spawn(fun() -> {peer, Go} ! helper, receive stop -> exit(stopped) end end)`)
	helper := f.await(dist.OpRegSend).From
	for helper == main {
		helper = f.await(dist.OpRegSend).From
	}
	r.send(dist.Control{Op: dist.OpMonitorP, From: pid, To: helper, Ref: ref(3)}, nil)
	r.send(dist.Control{Op: dist.OpLink, From: pid, To: helper}, nil)
	r.send(dist.Control{Op: dist.OpSend, To: helper}, ei.Atom("stop"))
	r.send(dist.Control{Op: dist.OpLink, From: pid, To: main}, nil)
	r.send(dist.Control{Op: dist.OpUnlinkID, ID: 1<<64 - 1, From: pid, To: main}, nil)
	if spawns {
		request := dist.Control{
			Op: dist.OpSpawnRequest, Ref: ref(4), From: pid, GroupLeader: pid, Module: "erlang", Function: "self",
			Options: ei.AppendNil(append(ei.AppendListHeader(nil, 1), atom("monitor")...)),
		}
		r.send(request, ei.List{})
		request.Ref, request.Function, request.Options = ref(5), "no_such_function", ei.AppendNil(nil)
		r.send(request, ei.List{})
		request.Op, request.Ref, request.Function = dist.OpSpawnRequest.Traced(), ref(6), "self"
		token := encoded(t, ei.Tuple{ei.Int(1), ei.Int(19), ei.Int(2), pid, ei.Int(1)})
		request.Token = token
		r.send(request, ei.List{})
	}
	<-f.done
	require.Empty(t, f.left, "these did not come")
}

// playAltact makes a node of OTP 28 or later send priority signals.
func playAltact(t testing.TB, r *recorder) {
	self := ei.Atom(r.scenario.self.Name)
	f := r.readFrames(nil)
	<-f.done
	came := make(chan struct{})
	go func() {
		defer close(came)
		for range 5 {
			if _, err := r.ReadPacket(); err != nil {
				return
			}
		}
	}()
	alias := ei.Ref{Node: self, Creation: r.scenario.self.Creation, Len: 3, ID: [5]uint32{1, 2, 3}}
	pid := ei.Pid{Node: self, ID: 7, Serial: 1, Creation: r.scenario.self.Creation}
	term, err := ei.Marshal(ei.Tuple{alias, pid})
	require.NoError(t, err)
	var bytes []string
	for _, b := range term {
		bytes = append(bytes, strconv.Itoa(int(b)))
	}
	r.node.Do(t, `{Alias, Pid} = binary_to_term(<<`+strings.Join(bytes, ",")+`>>),
		erlang:send(Alias, message, [priority]), exit(Alias, reason, [priority]), exit(Pid, plain),
		seq_trace:set_token(label, 17), seq_trace:set_token(send, true),
		erlang:send(Alias, traced, [priority]), exit(Alias, traced, [priority]), seq_trace:set_token([])`)
	<-came
}
