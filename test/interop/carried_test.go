package interop

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/tlstransport"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
)

// envTLS says that the distribution of all nodes runs over TLS, and of which version: 1.2 or 1.3.
const envTLS = "CNODE_TEST_TLS"

// envFault says that our nodes talk over faulty TCP, and is the seed of its faults.
const envFault = "CNODE_TEST_FAULT"

// A carriage is what carries the connections of a test's nodes.
type carriage struct {
	tr    transport.Transport // of nodes of this process; nil: TCP
	file  string              // option file of the others; empty: TCP
	fault string              // seed of cnode-demo's faults; empty: none
}

// usual is the carriage of all tests that do not choose their own.
var usual carriage

// overTLS makes a carriage over below, nil is TCP, with certificates of its own in dir, for hosts
// besides this machine.
func overTLS(dir, demo, version string, below transport.Transport, hosts ...string) (c carriage, err error) {
	if !slices.Contains(otp.TLSVersions(), version) {
		return c, fmt.Errorf("TLS %q: want one of %v", version, otp.TLSVersions())
	}
	if c.file, err = otp.TLSFiles(dir, demo, version, hosts...); err == nil {
		c.tr, err = tlstransport.FromOptFile(c.file, &tlstransport.Options{HandshakeTimeout: otp.HandshakeTime, Transport: below})
	}
	return c, err
}

// setUsual does what envTLS says. The directory is to be removed.
func setUsual() (dir string, err error) {
	if text, ok := os.LookupEnv(envFault); ok {
		seed, err := strconv.ParseUint(text, 10, 64)
		usual = carriage{tr: virtual.Fault(transport.TCP(), byteByByte(seed)), fault: text}
		return "", err
	}
	version, ok := os.LookupEnv(envTLS)
	if !ok {
		return "", nil
	}
	if dir, err = os.MkdirTemp("", "cnode-interop-tls-"); err != nil {
		return "", err
	}
	demo := filepath.Join(dir, "cnode-demo")
	if said, err := exec.Command("go", "build", "-o", demo, "github.com/cnode-go/cnode/cmd/cnode-demo").CombinedOutput(); err != nil {
		return dir, fmt.Errorf("%w\n%s", err, said)
	}
	usual, err = overTLS(filepath.Join(dir, "tls"), demo, version, nil)
	return dir, err
}

// byteByByte are gentle faults, and a split and a delay at every byte of the handshake, in both
// directions.
func byteByByte(seed uint64) virtual.FaultOptions {
	const handshake = 150 // bytes, at the least
	o := virtual.GentleFaults(seed)
	for i := range int64(handshake) {
		for _, write := range []bool{false, true} {
			o.At = append(o.At, virtual.FaultAt{Kind: virtual.FaultSplit, Offset: i, Write: write},
				virtual.FaultAt{Kind: virtual.FaultDelay, Offset: i, Write: write, For: 100 * time.Microsecond})
		}
	}
	return o
}

// needsTCP skips a test that needs TCP, if the usual carriage is another.
func needsTCP(t *testing.T, why string) {
	t.Helper()
	if usual.file != "" {
		t.Skip("over TCP only: " + why)
	}
}

// needsWhole skips a test that needs TCP without faults, if the usual carriage is another.
func needsWhole(t *testing.T, why string) {
	t.Helper()
	needsTCP(t, why)
	if usual.fault != "" {
		t.Skip("without faults only: " + why)
	}
}

// closedByPeer is the end of a connection that an Erlang node has closed: over TLS it sends no
// close_notify.
func closedByPeer() error {
	if usual.file != "" {
		return io.ErrUnexpectedEOF
	}
	return io.EOF
}

// start starts an Erlang node that is carried as usual.
func start(t testing.TB, r otp.Release, o otp.Options) *otp.Node {
	t.Helper()
	o.TLSOptFile = usual.file
	return r.Start(t, o)
}

// With every release, over both versions of TLS, whoever connects.
func TestConversationsOverTLS(t *testing.T) {
	needsTCP(t, "it has TLS anyway")
	otp.Together(t, func(t *testing.T, r otp.Release) {
		port := r.Epmd(t)
		for _, version := range otp.TLSVersions() {
			t.Run(version, func(t *testing.T) {
				c, err := overTLS(filepath.Join(t.TempDir(), "tls"), program(t, "cmd/cnode-demo"), version, nil)
				require.NoError(t, err)
				erl := r.Start(t, otp.Options{EpmdPort: port, TLSOptFile: c.file})
				load(t, erl, "counter")
				for _, who := range []string{"ours", "theirs"} {
					t.Run(who, func(t *testing.T) {
						cfg := config(port)
						cfg.Transport = c.tr
						m := &meeting{erl: erl, n: startNode(t, cfg)}
						if who == "theirs" {
							m.is(t, [][2]string{{`net_adm:ping(N)`, `pong`}})
						}
						mainConversations(t, m)
					})
				}
			})
		}
	})
}
