package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/internal/test/expect"
	vacant "github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/internal/test/sockdir"
	"github.com/cnode-go/cnode/transport/handoff/bind10"
)

// noPause spares a program with the race detector the second that it would wait for late reports at
// its end.
const noPause = "GORACE=atexit_sleep_ms=0"

// A front gives clients to a worker, tells what it does, moves to a new process with its clients
// and workers, and ends when it is told to.
func TestFront(t *testing.T) {
	workers := filepath.Join(sockdir.New(t), "w")
	page := vacant.Vacant(t)
	cmd := exec.Command(os.Args[0], "--listen", "127.0.0.1:0", "--workers", workers, "--http", page)
	cmd.Env = append(os.Environ(), commandVariable+"=1", noPause)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	defer func() { _ = cmd.Process.Kill() }()
	lines := bufio.NewReader(out)
	line := func() string {
		l, err := lines.ReadString('\n')
		require.NoError(t, err)
		return strings.TrimSpace(l)
	}
	addr, ok := strings.CutPrefix(line(), "ready front ")
	require.True(t, ok)
	get := func(path string) string {
		var b []byte
		require.Eventually(t, func() bool {
			r, err := http.Get("http://" + page + path)
			if err != nil {
				return false // while it moves
			}
			defer r.Body.Close()
			b, err = io.ReadAll(r.Body)
			return err == nil && r.StatusCode == http.StatusOK
		}, expect.Limit, 10*time.Millisecond)
		return string(b)
	}
	defer http.DefaultClient.CloseIdleConnections()
	stats := func() (s front.Stats) {
		require.NoError(t, json.Unmarshal([]byte(get("/stats")), &s))
		return s
	}

	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: workers, Net: "unix"})
	require.NoError(t, err)
	worker, err := bind10.NewReceiver(conn, nil)
	require.NoError(t, err)
	defer worker.Close()
	serve := func(c net.Conn, text string) {
		_, err := c.Write([]byte(text))
		require.NoError(t, err)
		var s bind10.Session
		require.NoError(t, worker.Receive(t.Context(), &s))
		require.Equal(t, text, string(s.Data))
		require.Equal(t, c.LocalAddr().String(), s.Remote.String())
		require.NoError(t, s.Close())
	}
	dialFront := func() net.Conn {
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		t.Cleanup(func() { c.Close() })
		return c
	}
	serve(dialFront(), "one")
	require.Contains(t, get("/"), "<h1>front</h1>")
	require.Contains(t, get("/metrics"), "\ncnode_front_forwarded_total 1\n")
	waits := dialFront()
	require.Eventually(t, func() bool { return stats().Parked == 1 }, expect.Limit, 10*time.Millisecond)

	require.NoError(t, cmd.Process.Signal(syscall.SIGUSR2))
	said := []string{line(), line()}
	if strings.HasPrefix(said[0], "upgraded") { // the two processes write independently
		said[0], said[1] = said[1], said[0]
	}
	require.Equal(t, "ready front "+addr, said[0])
	pids, ok := strings.CutPrefix(said[1], "upgraded front "+strconv.Itoa(cmd.Process.Pid)+" ")
	require.True(t, ok, said[1])
	next, err := strconv.Atoi(pids)
	require.NoError(t, err)
	serve(waits, "waited")
	serve(dialFront(), "new")
	require.Eventually(t, func() bool { s := stats(); return s.Forwarded == 3 && len(s.Workers) == 1 }, expect.Limit, 10*time.Millisecond)

	require.NoError(t, syscall.Kill(next, syscall.SIGTERM))
	rest, err := io.ReadAll(lines) // until both processes have ended
	require.NoError(t, err)
	require.Empty(t, string(rest))
	go func() { ended <- cmd.Wait() }()
	require.NoError(t, <-ended)
	require.NoFileExists(t, workers)
}

// writeCertificate writes one that nobody knows, and its key.
func writeCertificate(t *testing.T) (cert, key string) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	of := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	public, err := x509.CreateCertificate(rand.Reader, of, of, &private.PublicKey, private)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	cert, key = filepath.Join(t.TempDir(), "cert.pem"), filepath.Join(t.TempDir(), "key.pem")
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: public}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	return cert, key
}

// After an upgrade the process that has accepted a client with TLS goes on with it, as long as
// --tls-left says.
func TestFrontTLSLeft(t *testing.T) {
	dir := sockdir.New(t)
	cert, key := writeCertificate(t)
	cmd := exec.Command(os.Args[0], "--listen", "tls:127.0.0.1:0", "--workers", filepath.Join(dir, "w"), "--tls-left", "1s",
		"--cert", cert, "--key", key)
	cmd.Env = append(os.Environ(), commandVariable+"=1", noPause)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	defer func() { _ = cmd.Process.Kill() }()
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	require.NoError(t, err)
	addr, ok := strings.CutPrefix(strings.TrimSpace(line), "ready front ")
	require.True(t, ok, line)
	client := func() *tls.Conn {
		c, err := tls.Dial("tcp", addr, &tls.Config{InsecureSkipVerify: true})
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(expect.Limit))
		return c
	}
	first := client()
	require.NoError(t, cmd.Process.Signal(syscall.SIGUSR2))
	next := 0
	for range 2 { // "ready front ADDRESS" and "upgraded front OLD NEW", in any order
		line, err := lines.ReadString('\n')
		require.NoError(t, err)
		if words := strings.Fields(line); words[0] == "upgraded" {
			next, err = strconv.Atoi(words[3])
			require.NoError(t, err)
		}
	}
	second := client()
	_, err = first.Read(make([]byte, 1)) // nobody serves it, and the old process waits no longer
	require.Error(t, err)
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded)
	require.NoError(t, second.SetReadDeadline(time.Now().Add(-time.Second)))
	_, err = second.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "it is the new process's")
	require.NoError(t, syscall.Kill(next, syscall.SIGTERM))
	_, err = io.Copy(io.Discard, lines) // until both processes have ended
	require.NoError(t, err)
	require.NoError(t, cmd.Wait())
}
