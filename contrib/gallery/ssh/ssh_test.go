package cnodessh

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"golang.org/x/crypto/ssh"

	"github.com/cnode-go/cnode/contrib/gallery/internal/carry"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/transporttest"
)

// A channel that is asked for while the connection breaks is waited for within package ssh.
func TestMain(m *testing.M) {
	os.Exit(leak.Run(m, goleak.IgnoreAnyFunction("golang.org/x/crypto/ssh.(*mux).openChannel")))
}

func loopback() transport.Addr {
	at, _ := transport.ParseAddr("127.0.0.1:0")
	return at
}

func newKey(t testing.TB) ssh.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(key)
	require.NoError(t, err)
	return signer
}

// serve runs an SSH server for one user that forwards connections, and returns its address and what
// the user needs.
func serve(t testing.TB) (at string, cfg *ssh.ClientConfig) {
	host, user := newKey(t), newKey(t)
	server := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(user.PublicKey().Marshal()) {
			return nil, fmt.Errorf("unknown key")
		}
		return nil, nil
	}}
	server.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var serving sync.WaitGroup
	t.Cleanup(func() { l.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				session, channels, requests, err := ssh.NewServerConn(c, server)
				if err != nil {
					return
				}
				defer session.Close()
				go ssh.DiscardRequests(requests)
				for ch := range channels {
					serving.Go(func() { forward(ch) })
				}
			})
		}
	})
	return l.Addr().String(), &ssh.ClientConfig{
		User: "user", Auth: []ssh.AuthMethod{ssh.PublicKeys(user)}, HostKeyCallback: ssh.FixedHostKey(host.PublicKey()),
	}
}

// forward does what sshd does for direct-tcpip.
func forward(asked ssh.NewChannel) {
	var to struct {
		Host     string
		Port     uint32
		From     string
		FromPort uint32
	}
	if asked.ChannelType() != "direct-tcpip" || ssh.Unmarshal(asked.ExtraData(), &to) != nil {
		_ = asked.Reject(ssh.UnknownChannelType, "")
		return
	}
	far, err := net.Dial("tcp", net.JoinHostPort(to.Host, fmt.Sprint(to.Port)))
	if err != nil {
		_ = asked.Reject(ssh.ConnectionFailed, err.Error())
		return
	}
	defer far.Close()
	ch, requests, err := asked.Accept()
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if _, err := io.Copy(far, ch); err != nil { // the node reads no more
			_ = ch.Close()
		}
		_ = far.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(ch, far)
	_ = ch.CloseWrite()
	_ = ch.Close()
	<-sent
}

// Skipped are the rules on descriptors, moving and resets, for there are no descriptors; on
// CloseWrite, which a pipe has not; on peers' addresses, for the server stands between; and on a
// Connect that waits, for the server accepts.
func TestConformance(t *testing.T) {
	at, cfg := serve(t)
	transporttest.Run(t, func() (transport.Transport, transport.Addr, error) { return New(at, cfg), loopback(), nil })
}

func TestNodes(t *testing.T) {
	at, cfg := serve(t)
	carry.Nodes(t, New(at, cfg), loopback)
}

// A server that does not let us in, or is not the one it should be, is an error that says so.
func TestRefused(t *testing.T) {
	at, cfg := serve(t)
	stranger := *cfg
	stranger.Auth = []ssh.AuthMethod{ssh.PublicKeys(newKey(t))}
	_, err := New(at, &stranger).Connect(expect.Context(t), loopback())
	require.ErrorContains(t, err, "unable to authenticate")
	other := *cfg
	other.HostKeyCallback = ssh.FixedHostKey(newKey(t).PublicKey())
	_, err = New(at, &other).Connect(expect.Context(t), loopback())
	require.ErrorContains(t, err, "host key mismatch")
}

// A server that says nothing is left when the time is over.
func TestSilentServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, cfg := serve(t)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		c, err := l.Accept()
		cancel()
		if err == nil {
			_, _ = io.Copy(io.Discard, c)
			c.Close()
		}
	}()
	_, err = New(l.Addr().String(), cfg).Connect(ctx, loopback())
	require.ErrorIs(t, err, context.Canceled)
}
