package mapper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/cmd/internal/config"
	"github.com/cnode-go/cnode/nodes/epmd"
	"github.com/cnode-go/cnode/transport"
	"github.com/spf13/cobra"
)

func Command(o *config.Options) *cobra.Command {
	return &cobra.Command{
		Use:   "epmd",
		Short: "Run a port mapper in the foreground, in place of Erlang's epmd",
		Long: `Run a port mapper until SIGTERM, SIGINT, SIGHUP or "epmd -kill", and print "ready epmd PORT" once it can be reached. It
listens on the loopback addresses and on those of ERL_EPMD_ADDRESS, on ERL_EPMD_PORT or 4369; with --listen IP:PORT, or
--epmd IP:PORT, on that address only.
ERL_EPMD_RELAXED_COMMAND_CHECK, when set, allows "epmd -stop", and "epmd -kill" while nodes are registered.`,
		Example: `  cnode-demo epmd
  cnode-demo epmd --listen 127.0.0.1:0
  ERL_EPMD_ADDRESS=0.0.0.0 cnode-demo epmd --log-level info`,
		Args: cli.Args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.LogsWarnings()
			return runMapper(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
}

func runMapper(ctx context.Context, o *config.Options, out, errOut io.Writer) error {
	addrs, err := mapperAddrs(o)
	if err != nil {
		return err
	}
	cli.SurvivePipe()
	_, relaxed := os.LookupEnv("ERL_EPMD_RELAXED_COMMAND_CHECK")
	m, err := Start(ctx, &epmd.Server{Relaxed: relaxed, Logger: o.Logger(errOut)}, addrs...)
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(m.Addr)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "ready epmd %s\n", port)
	defer context.AfterFunc(ctx, m.Stop)()
	return m.wait()
}

// mapperAddrs are the addresses that a port mapper of our own is to listen on.
func mapperAddrs(o *config.Options) ([]string, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	addr := o.Listen
	if addr == "" && o.Epmd != "auto" && o.Epmd != "embedded" {
		addr = o.Epmd
	}
	if addr == "" {
		return epmd.ListenAddrs(os.Getenv)
	}
	a, err := transport.ParseAddr(addr)
	if err == nil {
		_, err = transport.AddrPort(a)
	}
	if err != nil {
		return nil, cli.Usagef("a port mapper listens on IP:PORT: %w", err)
	}
	return []string{a.String()}, nil
}

// FreeFor checks that a port mapper of our own can listen on addrs.
func FreeFor(ctx context.Context, addrs ...string) error {
	ls, err := epmd.Listen(ctx, addrs...)
	if err != nil {
		return &Error{addrs, err}
	}
	for _, l := range ls {
		err = errors.Join(err, l.Close())
	}
	return err
}

// A Mapper is a port mapper inside this process.
type Mapper struct {
	server  *epmd.Server
	serving sync.WaitGroup
	Addr    string // host:port of the first listener

	mu  sync.Mutex
	err error
}

// An Error says that a port mapper of our own cannot listen.
type Error struct {
	Addrs []string
	Err   error
}

func (e *Error) Error() string {
	return fmt.Sprintf("start a port mapper on %s: %v", strings.Join(e.Addrs, ", "), e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Start listens on addrs, and serves until Stop.
func Start(ctx context.Context, s *epmd.Server, addrs ...string) (*Mapper, error) {
	ls, err := epmd.Listen(ctx, addrs...)
	if err != nil {
		return nil, &Error{addrs, err}
	}
	m := &Mapper{server: s, Addr: ls[0].Addr().String()}
	for _, l := range ls {
		m.serving.Go(func() {
			err := s.Serve(l)
			m.mu.Lock()
			defer m.mu.Unlock()
			if !errors.Is(err, epmd.ErrServerClosed) {
				m.err = err
			}
		})
	}
	return m, nil
}

func (m *Mapper) Stop() {
	_ = m.server.Close() // always nil
	m.serving.Wait()
}

// wait returns when nothing is served any more, with the reason if it is neither stop nor a kill
// request.
func (m *Mapper) wait() error {
	m.serving.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}
