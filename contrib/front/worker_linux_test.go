package front

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

// The worker of these tests is a process of its own, and plays the envelope's side. It serves
// lines: each is answered by its number, counted from the session's beginning, and itself. The
// number is the session's state, so a line that is served twice or not at all is seen at once.

const (
	workerVariable = "CNODE_TEST_KEEPER_WORKER" // the path
	modeVariable   = "CNODE_TEST_KEEPER_MODE"
	dieVariable    = "CNODE_TEST_KEEPER_DIE" // a step of the worker's, and at which of them it kills itself
)

func TestMain(m *testing.M) {
	if path := os.Getenv(workerVariable); path != "" {
		if err := workerMain(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if os.Getenv(heirVariable) != "" {
		os.Exit(heirMain())
	}
	if os.Getenv(frontVariable) != "" {
		os.Exit(frontMain())
	}
	os.Exit(leak.Run(m))
}

// A testWorker is the worker's side.
type testWorker struct {
	control *handoff.Conn
	stream  *net.UnixConn
	window  int
	mode    string

	mu     sync.Mutex
	step   string
	left   int
	conns  map[uint64]net.Conn
	retire bool
}

func (w *testWorker) pass(step string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if step != w.step {
		return
	}
	if w.left--; w.left == 0 {
		_ = unix.Kill(os.Getpid(), unix.SIGKILL)
		select {}
	}
}

func joinKeeper(path, name, mode string) (*testWorker, error) {
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: path + controlSuffix, Net: "unixpacket"})
	if err != nil {
		return nil, err
	}
	w := &testWorker{mode: mode, conns: map[uint64]net.Conn{}}
	if w.control, err = handoff.NewConn(c); err != nil {
		return nil, err
	}
	if _, err := w.control.TrySend(append([]byte{kindHello, wireVersion, helloMode(mode)}, name...)); err != nil {
		return nil, err
	}
	p, set := make([]byte, 1500), &handoff.FDSet{}
	n, err := w.control.Receive(context.Background(), p, set, 1)
	if err == nil && p[0] != kindWelcome {
		err = fmt.Errorf("refused: %s", p[1:n])
	}
	if err != nil {
		return nil, errors.Join(err, w.control.Close())
	}
	w.window = int(binary.BigEndian.Uint16(p[2:]))
	fd, err := set.Steal(0)
	if err != nil {
		return nil, err
	}
	w.stream, err = connOf(fd)
	return w, err
}

func helloMode(mode string) byte {
	if mode == "takes" {
		return modeTakes
	}
	return modeLooks
}

func (w *testWorker) say(p []byte) {
	_ = w.control.Send(context.Background(), p)
}

func (w *testWorker) word(kind byte, id uint64) {
	w.say(binary.BigEndian.AppendUint64([]byte{kind}, id))
}

func appendPoint(id, consumed, written uint64, rest, state []byte) []byte {
	b := binary.BigEndian.AppendUint64([]byte{kindPoint}, id)
	b = binary.BigEndian.AppendUint64(b, consumed)
	b = binary.BigEndian.AppendUint64(b, written)
	b = binary.BigEndian.AppendUint32(b, uint32(len(rest)))
	return append(append(b, rest...), state...)
}

func workerMain(path string) error {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM)
	w, err := joinKeeper(path, os.Getenv("NAME"), os.Getenv(modeVariable))
	if err != nil {
		return err
	}
	if step, n, ok := strings.Cut(os.Getenv(dieVariable), ":"); ok {
		w.step = step
		w.left, _ = strconv.Atoi(n)
	}
	fmt.Println("ready")
	go func() {
		<-signals
		w.giveBack()
	}()
	return w.serve()
}

// giveBack ends this worker: each session is given back where it stands.
func (w *testWorker) giveBack() {
	w.mu.Lock()
	w.retire = true
	conns := len(w.conns)
	for _, c := range w.conns {
		_ = c.SetReadDeadline(time.Unix(1, 0))
	}
	w.mu.Unlock()
	w.say([]byte{kindRetire})
	w.pass("retire")
	if conns == 0 {
		os.Exit(0)
	}
}

func (w *testWorker) serve() error {
	r, err := bind10.NewReceiver(w.stream, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		var s bind10.Session
		if err := r.Receive(context.Background(), &s); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
		w.pass("adopt")
		if s.Data[0] != envelopeMark || len(s.Data) < envelopeHead {
			return errors.New("no envelope")
		}
		id, size := binary.BigEndian.Uint64(s.Data[1:]), binary.BigEndian.Uint32(s.Data[9:])
		state, rest := s.Data[envelopeHead:envelopeHead+size], s.Data[envelopeHead+size:]
		if w.mode == "refuse" {
			_ = s.Close()
			w.word(kindRefused, id)
			continue
		}
		f, err := s.Socket.File(0, "session")
		if err != nil {
			return err
		}
		c, err := net.FileConn(f)
		_ = f.Close()
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.conns[id] = c
		if w.retire {
			_ = c.SetReadDeadline(time.Unix(1, 0))
		}
		w.mu.Unlock()
		w.word(kindTaken, id)
		w.pass("taken")
		if w.mode == "flood" {
			go w.flood(c, id)
			continue
		}
		go w.session(c, id, bytes.Clone(state), bytes.Clone(rest), s.Remote)
	}
}

// floodSize is more than the sockets on the way to a client hold.
const floodSize = 32 << 20

// flood answers a line with much. If the line says leave, it closes as soon as the client does not
// read.
func (w *testWorker) flood(c net.Conn, id uint64) {
	line, _ := bufio.NewReader(c).ReadString('\n')
	w.say(appendPoint(id, 0, 0, nil, nil)) // tells the test
	b, left := make([]byte, 64<<10), floodSize
	for left > 0 {
		if line == "leave\n" {
			_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
		}
		n, err := c.Write(b[:min(left, len(b))])
		if left -= n; err != nil {
			break
		}
	}
	if line != "leave\n" {
		_, _ = c.Read(b)
	}
	_ = c.Close()
	w.word(kindDone, id)
}

func (w *testWorker) session(c net.Conn, id uint64, state, rest []byte, remote transport.Addr) {
	number := 0
	if len(state) > 0 {
		number, _ = strconv.Atoi(string(state))
	}
	var consumed, written uint64
	raw, _ := c.(syscall.Conn).SyscallConn()
	p := make([]byte, 64<<10)
	for {
		n := 0
		var err error
		whole := bytes.IndexByte(rest, '\n') >= 0
		if !whole {
			err = peek(raw, p, func(k int) bool { n = k; return bytes.IndexByte(p[:k], '\n') >= 0 })
			if err == nil && n == 0 {
				err = io.EOF
			}
		}
		if errors.Is(err, os.ErrDeadlineExceeded) { // given back
			_ = c.Close()
			w.pass("give back")
			w.word(kindGivenBack, id)
			break
		}
		if err != nil {
			w.pass("close")
			_ = c.Close()
			w.pass("closed")
			w.word(kindDone, id)
			break
		}
		line := p[:bytes.IndexByte(p[:n], '\n')+1] // empty if whole
		text := append(rest, line...)
		rest = nil
		number++
		answer := fmt.Appendf(nil, "%d %s", number, text)
		if string(text) == "who\n" {
			answer = fmt.Appendf(nil, "%d %s %s %d\n", number, os.Getenv("NAME"), remote, os.Getpid())
		}
		take := func() { _, _ = io.ReadFull(c, line) }
		if w.mode == "eager" && !whole { // takes first, and tells what it has
			take()
			consumed += uint64(len(line))
			w.say(appendPoint(id, consumed, written, text, []byte(strconv.Itoa(number-1))))
			consumed -= uint64(len(line))
		}
		consumed += uint64(len(line))
		written += uint64(len(answer))
		w.pass("point")
		if w.mode != "silent" {
			w.say(appendPoint(id, consumed, written, nil, []byte(strconv.Itoa(number))))
		}
		if w.mode == "void" {
			w.say(appendPoint(id, noPoint, noPoint, nil, nil))
		}
		w.pass("answer")
		_, _ = c.Write(answer)
		w.pass("answered")
		if w.mode != "eager" && !whole {
			take()
		}
		w.pass("took")
	}
	w.mu.Lock()
	delete(w.conns, id)
	last := w.retire && len(w.conns) == 0
	w.mu.Unlock()
	if last && w.retire && os.Getenv(workerVariable) != "" {
		os.Exit(0)
	}
}

// A process is a worker's.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
}

// startWorker starts a worker, and returns when it has been welcomed.
func startWorker(t testing.TB, path, mode, die string, more ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), workerVariable+"="+path, modeVariable+"="+mode, dieVariable+"="+die)
	cmd.Env = append(cmd.Env, more...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	p := &process{cmd, make(chan struct{})}
	ready := make(chan error, 1)
	go func() {
		r := bufio.NewReader(out)
		_, err := r.ReadString('\n')
		ready <- err
		_, _ = io.Copy(io.Discard, r)
		_ = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(p.kill)
	select {
	case err := <-ready:
		require.NoError(t, err, "the worker has not been welcomed")
	case <-time.After(patience):
		require.FailNow(t, "no worker")
	}
	return p
}

const patience = 30 * time.Second

func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

func (p *process) wait(t testing.TB) {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		require.FailNow(t, "the worker lives on")
	}
}
