package handoff

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

// soon is a context for what should be over in moments.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// A program is a script that runs.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	lines  *bufio.Scanner
	stderr strings.Builder
}

// python starts a script of this folder with a role and the path of a socket.
func python(t *testing.T, script, role, path string) *program {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the scripts know Linux' socket addresses only")
	}
	name := need.Program(t, "python3")
	p := &program{t: t, cmd: exec.CommandContext(soon(t), name, script, role, path)}
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.cmd.Stderr = &p.stderr
	p.lines = bufio.NewScanner(out)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.cmd.Wait()
		if t.Failed() {
			t.Log(p.stderr.String())
		}
	})
	return p
}

// says waits for a line.
func (p *program) says(line string) {
	p.t.Helper()
	require.True(p.t, p.lines.Scan(), "it ended: %s", &p.stderr)
	require.Equal(p.t, line, p.lines.Text())
}

// ends waits until the program has ended well.
func (p *program) ends() {
	p.t.Helper()
	p.says("done")
	require.False(p.t, p.lines.Scan())
	require.NoError(p.t, p.cmd.Wait())
}

// listen accepts one stream at a path.
func listen(t *testing.T, path string) func() *net.UnixConn {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	return func() *net.UnixConn {
		require.NoError(t, l.SetDeadline(time.Now().Add(time.Minute)))
		c, err := l.AcceptUnix()
		require.NoError(t, err)
		return c
	}
}

func socketPath(t *testing.T) string { return filepath.Join(sockdir.New(t), "s") }

// temporary is an open file that holds text.
func temporary(t *testing.T, text string) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	_, err = f.WriteString(text)
	require.NoError(t, err)
	return f
}

// text reads a file from its beginning.
func text(t *testing.T, f *os.File) string {
	t.Helper()
	b := make([]byte, 100)
	n, err := f.ReadAt(b, 0)
	require.True(t, err == nil || err == io.EOF, "%v", err)
	return string(b[:n])
}
