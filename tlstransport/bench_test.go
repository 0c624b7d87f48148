package tlstransport

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
)

var benchSizes = []int{200, 16 << 10, 256 << 10}

// From one end of a connection over the loopback interface to the other.
func BenchmarkLoopback(b *testing.B) {
	a := newAuthority(b, "an authority")
	for _, k := range kinds {
		cfg := restrict(a.mutual(b), k.version, k.suite)
		for _, size := range benchSizes {
			for _, who := range []string{"ours", "cryptotls"} {
				b.Run(fmt.Sprintf("%s/%d/%s", k.name, size, who), func(b *testing.B) {
					var from, to carrier
					if who == "ours" {
						w := newWorkbench(b, cfg, Options{})
						c, s := w.pair()
						defer w.cb.Close(s)
						defer w.cb.Close(c)
						from, to = ours{c}, ours{s}
					} else {
						l := expect.Open(net.Listen("tcp", "127.0.0.1:0")).In(b)
						raw := expect.NoError(net.Dial("tcp", l.Addr().String())).In(b)
						other := expect.NoError(l.Accept()).In(b)
						ccfg := cfg.Clone()
						ccfg.ServerName = "localhost"
						c, s := tls.Client(raw, ccfg), tls.Server(other, cfg)
						defer c.Close()
						defer s.Close()
						from, to = c, s
					}
					exchange(b, from, to, 10)
					p := make([]byte, size)
					read := make(chan error, 1)
					b.SetBytes(int64(size))
					b.ReportAllocs()
					b.ResetTimer()
					go func() {
						buf := make([]byte, 64<<10)
						total := int64(size) * int64(b.N)
						for total > 0 {
							n, err := to.Read(buf)
							total -= int64(n)
							if err != nil && (err != io.EOF || total > 0) {
								read <- err
								return
							}
						}
						read <- nil
					}()
					for range b.N {
						if _, err := from.Write(p); err != nil {
							b.Fatal(err)
						}
					}
					require.NoError(b, <-read)
				})
			}
		}
	}
}
