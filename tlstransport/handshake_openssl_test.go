package tlstransport

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/stretchr/testify/require"
)

// A heard collects the output of a program.
type heard struct {
	t    *testing.T
	news chan []byte
	all  []byte
}

// await waits until the output contains what, and drops the output up to and including it.
func (h *heard) await(what string) {
	h.t.Helper()
	limit := time.After(tooLong)
	for {
		if at := bytes.Index(h.all, []byte(what)); at >= 0 {
			h.all = h.all[at+len(what):]
			return
		}
		select {
		case b, ok := <-h.news:
			require.True(h.t, ok, "it has ended: %s", h.all)
			h.all = append(h.all, b...)
		case <-limit:
			require.FailNow(h.t, "nothing happens", "%s", h.all)
		}
	}
}

// Write takes the program's output.
func (h *heard) Write(b []byte) (int, error) {
	h.news <- bytes.Clone(b)
	return len(b), nil
}

// The suites of TLS 1.3, which cannot be chosen in crypto/tls, with openssl as the peer. It changes
// its keys, and makes us change ours, which also change without that.
func TestAgainstOpenSSL(t *testing.T) {
	t.Parallel() // it waits
	program := need.Program(t, "openssl")
	if version, err := exec.Command(program, "version").Output(); err != nil || !strings.HasPrefix(string(version), "OpenSSL ") {
		need.Missing(t, fmt.Sprintf("%s is not OpenSSL, whose s_client changes keys: %s (%v)", program, version, err))
	}
	a := newAuthority(t, "an authority")
	cfg := restrict(a.mutual(t), tls.VersionTLS13, 0)
	ca, cert, key := a.files(t, t.TempDir(), a.sign(t, want{}))
	for _, su := range suites[:3] {
		t.Run(suiteOf(su.version, su.id).String(), func(t *testing.T) {
			w := newWorkbench(t, cfg, Options{keyUpdateRecords: 3})
			said := &heard{t: t, news: make(chan []byte, 1000)}
			cmd := exec.Command(program, "s_client", "-connect", w.at.String(), "-tls1_3", "-ciphersuites", tls.CipherSuiteName(su.id),
				"-cert", cert, "-key", key, "-CAfile", ca, "-brief")
			cmd.Stdout, cmd.Stderr = said, said
			in := expect.NoError(cmd.StdinPipe()).In(t)
			require.NoError(t, cmd.Start())
			defer func() {
				_ = cmd.Process.Kill() // it may have ended
				_ = cmd.Wait()
			}()
			s := w.accept()
			hear := func(text string) {
				t.Helper()
				got := make([]byte, len(text))
				require.NoError(t, expect.Err(io.ReadFull(ours{s}, got)))
				require.Equal(t, text, string(got))
			}
			tell := func(to io.Writer, text string) {
				t.Helper()
				require.NoError(t, expect.Err(io.WriteString(to, text)))
			}
			numbers := strings.Repeat("0123456789", 10_000) + "\n" // no letter: those are commands
			tell(in, "1\n")
			hear("1\n")
			require.Equal(t, su.id, s.own.in.suite.id)
			for _, command := range []string{"k\n", "K\n", "K\n", "k\n"} {
				theirs, ours1 := bytes.Clone(s.own.in.secret), bytes.Clone(s.own.out.secret)
				tell(in, command)
				said.await("KEYUPDATE\n")
				tell(in, "2\n")
				hear("2\n")
				require.NotEqual(t, theirs, s.own.in.secret)
				require.Equal(t, command == "k\n", bytes.Equal(ours1, s.own.out.secret))
				go func() { _, _ = io.WriteString(in, numbers) }() // hear tells if it fails
				hear(numbers)
				tell(ours{s}, numbers+"end\n")
				said.await(numbers + "end\n")
			}
		})
	}
}
