package beam

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

// A far side is what workers have connections to. It sends numbered PINGs over each, and looks at
// the answers.
type farSide struct {
	net.Listener
	think   time.Duration
	answers atomic.Int64
	all     sync.WaitGroup

	mu    sync.Mutex
	conns map[string][]net.Conn // by the name that was said first
	wrong []string
}

// far starts a far side. Its connections are silent if think is 0.
func far(t *testing.T, think time.Duration) *farSide {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return farAt(t, l, think)
}

func farAt(t *testing.T, l net.Listener, think time.Duration) *farSide {
	t.Helper()
	f := &farSide{Listener: l, think: think, conns: map[string][]net.Conn{}}
	f.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f.all.Go(func() {
				if err := f.serve(c); err != nil {
					f.mu.Lock()
					f.wrong = append(f.wrong, err.Error())
					f.mu.Unlock()
				}
			})
		}
	})
	t.Cleanup(func() { f.close() })
	return f
}

func (f *farSide) close() {
	_ = f.Close()
	f.mu.Lock()
	for _, conns := range f.conns {
		for _, c := range conns {
			_ = c.Close()
		}
	}
	f.mu.Unlock()
	f.all.Wait()
}

func (f *farSide) serve(c net.Conn) error {
	r := bufio.NewReader(c)
	line, err := r.ReadString('\n')
	name, ok := strings.CutPrefix(strings.TrimSpace(line), "NAME ")
	if err != nil || !ok {
		return fmt.Errorf("first %q: %v", line, err)
	}
	f.mu.Lock()
	f.conns[name] = append(f.conns[name], c)
	f.mu.Unlock()
	for n := 1; f.think > 0; n++ {
		if _, err := fmt.Fprintf(c, "PING %d\n", 1000+n); err != nil {
			return nil //nolint:nilerr // the test has ended it
		}
		line, err := r.ReadString('\n')
		if err != nil {
			if strings.Contains(err.Error(), net.ErrClosed.Error()) {
				return nil
			}
			return fmt.Errorf("%s, %d: %w", name, n, err)
		}
		if want := fmt.Sprintf("PONG %d %d\n", 1000+n, n); line != want {
			return fmt.Errorf("%s: got %q, want %q", name, line, want)
		}
		f.answers.Add(1)
		time.Sleep(f.think)
	}
	return nil
}

// count is how many connections names have had, and what has gone wrong.
func (f *farSide) count() (names, conns int, wrong []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.conns {
		conns += len(c)
	}
	return len(f.conns), conns, slices.Clone(f.wrong)
}

// further waits for so many answers, all of which are right.
func (f *farSide) further(t *testing.T, answers int64) {
	t.Helper()
	before := f.answers.Load()
	require.Eventually(t, func() bool {
		_, _, wrong := f.count()
		return len(wrong) > 0 || f.answers.Load()-before > answers
	}, expect.Limit, time.Millisecond)
	_, _, wrong := f.count()
	require.Empty(t, wrong)
}

// only tells that so many names have had one connection each.
func (f *farSide) only(t *testing.T, many int) {
	t.Helper()
	names, conns, wrong := f.count()
	require.Empty(t, wrong)
	require.Equal(t, many, names)
	require.Equal(t, many, conns)
}

// last is the newest connection of a name.
func (f *farSide) last(t *testing.T, name string, nth int) (c net.Conn) {
	t.Helper()
	require.Eventually(t, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		if len(f.conns[name]) >= nth {
			c = f.conns[name][nth-1]
		}
		return c != nil
	}, expect.Limit, time.Millisecond, "%s does not come", name)
	return c
}

// farCertificate is the far side's, for 127.0.0.1 and far.test, and who takes it.
var farCertificate = func() func(t *testing.T) (*tls.Config, *x509.CertPool) {
	once := sync.OnceValues(func() (*x509.Certificate, *tls.Config) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
			IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"far.test"}}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			return nil, nil
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, nil
		}
		return c, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	})
	return func(t *testing.T) (*tls.Config, *x509.CertPool) {
		t.Helper()
		c, config := once()
		require.NotNil(t, c)
		roots := x509.NewCertPool()
		roots.AddCert(c)
		return config, roots
	}
}()
