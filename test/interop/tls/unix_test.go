//go:build unix

package tls

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
)

const (
	movesName      = "moves@127.0.0.1"
	adopterDir     = "CNODE_TEST_TLS_ADOPTER_DIR"
	adopterOptions = "CNODE_TEST_TLS_ADOPTER_OPTIONS"
)

// overUnix starts a node in a directory of UNIX sockets, over TLS, that tells by who:serves which
// process it runs in.
func overUnix(ctx context.Context, name, dir, options string, worker uint16) (*nodes.Node, error) {
	tr, err := tlstransport.FromOptFile(options, &tlstransport.Options{Transport: transport.Unix()})
	if err != nil {
		return nil, err
	}
	cfg := nodes.Config{Name: name, Cookie: "secret", Transport: tr, Resolver: nodes.SocketDir(dir), Creation: 7, Worker: worker}
	if worker > 1 { // the name's socket is the other process's
		if cfg.Listen, err = transport.ParseAddr("unix:" + filepath.Join(dir, "adopter")); err != nil {
			return nil, err
		}
	}
	n, err := nodes.New(cfg)
	if err != nil {
		return nil, err
	}
	n.Expose("who", "serves", func(context.Context, []ei.Term) (any, error) { return os.Getpid(), nil })
	return n, n.Start(ctx)
}

// TestAdopter is the other process of TestNodesOverUnix: it serves the connection whose descriptor
// is open as 3, and whose state comes on its standard input, until the peer ends it.
func TestAdopter(t *testing.T) {
	dir := os.Getenv(adopterDir)
	if dir == "" {
		t.Skip("for TestNodesOverUnix")
	}
	ctx := background(t)
	state, err := io.ReadAll(os.Stdin)
	require.NoError(t, err)
	n, err := overUnix(ctx, movesName, dir, os.Getenv(adopterOptions), 2)
	require.NoError(t, err)
	defer n.Close()
	c, err := n.Adopt(ctx, &nodes.Moved{State: state, FD: 3})
	require.NoError(t, err)
	select {
	case <-c.Done():
	case <-ctx.Done():
		require.FailNow(t, "the peer goes on and on")
	}
}

// Two nodes of ours speak TLS over UNIX sockets, each checks the other's certificate, and the
// session goes on in another process, of which the peer sees nothing but its answers.
func TestNodesOverUnix(t *testing.T) {
	for _, v := range versions {
		t.Run(v.name, func(t *testing.T) {
			ctx, dir := background(t), sockdir.New(t)
			a := newAuthority(t)
			options := a.mutual(t, a.sign(t, want{}), v.option)
			peer, err := overUnix(ctx, "peer@127.0.0.1", dir, options, 0)
			require.NoError(t, err)
			defer peer.Close()
			old, err := overUnix(ctx, movesName, dir, options, 1)
			require.NoError(t, err)
			defer old.Close()
			served := func() string {
				by, err := peer.RPC(ctx, movesName, "who", "serves")
				require.NoError(t, err)
				return fmt.Sprint(by)
			}
			require.Equal(t, strconv.Itoa(os.Getpid()), served())

			moved, err := old.Conn(peer.Name()).Detach(ctx)
			require.NoError(t, err)
			cmd := exec.CommandContext(ctx, os.Args[0], "-test.run", "^TestAdopter$")
			cmd.Env = append(os.Environ(), adopterDir+"="+dir, adopterOptions+"="+options)
			cmd.Stdin = bytes.NewReader(moved.State)
			f := os.NewFile(uintptr(moved.FD), "the connection")
			cmd.ExtraFiles = []*os.File{f}
			out := &recorder{}
			cmd.Stdout, cmd.Stderr = out, out
			require.NoError(t, cmd.Start())
			require.NoError(t, f.Close())
			require.Equal(t, strconv.Itoa(cmd.Process.Pid), served())
			require.NoError(t, peer.Conn(movesName).Close())
			require.NoError(t, cmd.Wait(), out)
		})
	}
}
