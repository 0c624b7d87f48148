//go:build unix

package tsocket

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/transport"
)

// The rules of the tsocket guide, in our words and with our names, a line each, under the heading
// of the section that states them: a test for each section, and two for the section about addresses
// and sockets.

func TestGuideQueues(t *testing.T) {
	guideSection(t, "Async 'tevent_queue' based helper functions", []guideRule{
		{"queued sends of datagrams are made one after the other", TestSendToQueue},
		{"queued reads of packets are made one after the other", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			var q transport.Queue
			var fs [3]framer
			var calls []<-chan error
			for i := range fs {
				calls = append(calls, expect.Aside(func() error { return expect.Err(q.ReadPDU(soon(t), s, fs[i].next)) }))
				expect.WaitIn(t, i+1, "", "(*Queue).ReadPDU(")
			}
			require.NoError(t, expect.Err(c.Writev(soon(t), frames("0", "1", "2"))))
			for i, call := range calls {
				require.NoError(t, expect.Returns(t, call))
				require.Equal(t, fmt.Sprint(i), string(fs[i].body))
			}
		})},
		{"queued writes are made one after the other", guideTCP(func(t *testing.T, c, s *transport.Stream) {
			var q transport.Queue
			big := make([]byte, 32<<20)
			first := expect.Aside(func() error { return expect.Err(q.Writev(soon(t), c, big)) })
			requireReads(t, s, "\x00") // it is on its way
			var calls []<-chan error
			for i := range 10 {
				calls = append(calls, inLine(t, i+1, func() error { return expect.Err(q.Writev(soon(t), c, []byte{byte('0' + i)}, []byte("ab"))) }))
			}
			require.NoError(t, expect.Err(s.Readv(soon(t), big[1:])))
			requireReads(t, s, "0ab1ab2ab3ab4ab5ab6ab7ab8ab9ab")
			require.NoError(t, expect.Returns(t, first))
			for _, call := range calls {
				require.NoError(t, expect.Returns(t, call), "never busy")
			}
		})},
		{"the queue is an argument: several sockets may share one", TestQueueOfSeveralSockets},
	})
}
