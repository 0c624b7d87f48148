package processes

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/cnode-go/cnode/internal/test/gonode"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

func TestMain(m *testing.M) { gonode.Main(m, envSlow, serveSlow) }

// envSlow makes this test's binary a program with slow functions, under the name that it holds.
const envSlow = "CNODE_TEST_SLOW"

// serveSlow runs it until its standard input ends.
func serveSlow(name string) error {
	n, err := nodes.New(nodes.Config{Name: name, Cookie: otp.DefaultCookie})
	if err != nil {
		return err
	}
	// reader(Count) receives that many messages at 50 us each, however long that holds the sender.
	n.Expose("slow", "reader", nodes.FuncOf(func(ctx context.Context, count int) error {
		self := nodes.MailboxOf(ctx)
		if err := self.SetLimit(0, nodes.FullWait); err != nil {
			return err
		}
		for i := range count {
			m, err := self.Receive(ctx)
			if err != nil {
				return err
			}
			m.Release()
			if i%20 == 0 {
				time.Sleep(time.Millisecond)
			}
		}
		return nil
	}))
	n.Expose("slow", "deaf", nodes.FuncOf(func(ctx context.Context) { <-ctx.Done() }))
	n.Expose("slow", "narrow", nodes.FuncOf(func(ctx context.Context) error {
		if err := nodes.MailboxOf(ctx).SetLimit(1<<20, nodes.FullExit); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	}))
	n.Expose("slow", "overflow", nodes.FuncOf(func() int { return n.Stats().Overflow }))
	if err := n.Start(context.Background()); err != nil {
		return err
	}
	at, _ := transport.AddrPort(n.Listeners()[0].Addr())
	fmt.Printf("ready %s %d\n", name, at.Port())
	_, _ = os.Stdin.Read(make([]byte, 1))
	return n.Close()
}
