package neighbours

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/stretchr/testify/require"
)

const (
	// limit bounds what takes a second or two, the start of a broker for example, unless something
	// is broken.
	limit = 3 * time.Minute
	tick  = 20 * time.Millisecond
)

// A place is a started node of this process, a port mapper of its own, and room for a neighbour.
type place struct {
	t    *testing.T
	n    *nodes.Node
	port int    // of the port mapper
	dir  string // for the neighbour's files
}

func newPlace(t *testing.T) *place {
	t.Helper()
	w := &place{t: t, port: otp.Epmd(t), dir: t.TempDir()}
	cfg := gonode.Config(t, fmt.Sprintf("go%08x@127.0.0.1", rand.Uint32()), w.port)
	cfg.Setup = setUp
	w.n = gonode.Start(t, cfg)
	return w
}

// setUp gives the node something to call: functions, and a GenServer that counts.
func setUp(n *nodes.Node) error {
	n.Expose("go", "upper", func(_ context.Context, args []ei.Term) (any, error) {
		b, ok := args[0].(ei.Binary)
		if !ok {
			return nil, fmt.Errorf("upper of %v", args[0])
		}
		return bytes.ToUpper(b), nil
	})
	n.Expose("go", "echo", func(_ context.Context, args []ei.Term) (any, error) { return args[0], nil })
	count := 0
	_, err := n.Serve("counter", nodes.Server{
		Call: func(_ context.Context, c *nodes.Call) (any, error) {
			count++
			return ei.Tuple{ei.Int(count), c.Request}, nil
		},
		Info: func(ctx context.Context, self *nodes.Mailbox, m *nodes.Message) {
			if t, _ := m.Term(); t != nil {
				if pair, ok := t.(ei.Tuple); ok && len(pair) == 2 { // {From, Message}
					if from, ok := pair[0].(ei.Pid); ok {
						_ = self.Send(ctx, from, pair[1])
					}
				}
			}
		},
	}, nil)
	return err
}

func (w *place) soon() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	w.t.Cleanup(cancel)
	return ctx
}

// command runs a shell's script inside the root file system, in the place's directory, with the
// port mapper.
func (w *place) command(ctx context.Context, script string, args ...string) *exec.Cmd {
	w.t.Helper()
	cmd := exec.CommandContext(ctx, otp.Neighbours(w.t), append([]string{"-c", script, "bash"}, args...)...)
	cmd.Dir = w.dir
	cmd.Env = []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + w.dir, "TMPDIR=" + os.TempDir(), "LANG=C.UTF-8", "DIR=" + w.dir,
		"ERL_EPMD_PORT=" + strconv.Itoa(w.port), "ERL_EPMD_ADDRESS=127.0.0.1", "COOKIE=" + otp.DefaultCookie, "GO_NODE=" + w.n.Name(),
	}
	return cmd
}

// serve starts a neighbour whose node is called name, and waits until its function says that it is
// up.
func (w *place) serve(name, mod, fun, script string, env ...string) {
	w.t.Helper()
	cmd := w.command(context.Background(), "echo ready "+name+" 0; exec </dev/null; "+script, name)
	cmd.Env = append(cmd.Env, env...)
	p := otp.Serve(w.t, cmd)
	for end := time.Now().Add(limit); ; time.Sleep(tick) {
		v, err := w.call(name, mod, fun, "[]")
		if err == nil && v == ei.Atom("true") {
			return
		}
		select {
		case <-p.Done():
			require.FailNow(w.t, name+" has ended")
		default:
			require.True(w.t, time.Now().Before(end), "%s is not up: %v, %v", name, v, err)
		}
	}
}

// call calls a function of the neighbour's.
func (w *place) call(node, mod, fun, args string) (ei.Term, error) {
	w.t.Helper()
	list, err := ei.Parse(args)
	require.NoError(w.t, err)
	var elements []any
	for _, a := range list.(ei.List) {
		elements = append(elements, a)
	}
	return w.n.RPC(w.soon(), node, mod, fun, elements...)
}

// gives calls a function of the neighbour's, and compares the result with want.
func (w *place) gives(want, node, mod, fun, args string) {
	w.t.Helper()
	got, err := w.call(node, mod, fun, args)
	require.NoError(w.t, err)
	term, err := ei.Parse(want)
	require.NoError(w.t, err)
	require.True(w.t, ei.Compare(term, got) == 0, "%s:%s%s: %v, not %v", mod, fun, args, got, want)
}

// open opens a file until the test ends.
func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = f.Close() })
	return f
}
