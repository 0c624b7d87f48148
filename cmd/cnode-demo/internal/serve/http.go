package serve

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/console"
	"github.com/cnode-go/cnode/nodes/debugz"
	"github.com/cnode-go/cnode/nodes/health"
	"github.com/cnode-go/cnode/nodes/observer"
	"github.com/cnode-go/cnode/nodes/pg"
	"github.com/cnode-go/cnode/nodes/upgrade"
	"github.com/spf13/pflag"
)

// operated are the flags for those who look after the node.
type operated struct {
	http     string
	operator bool
}

func (o *operated) addTo(f *pflag.FlagSet) {
	f.StringVar(&o.http, "http", "",
		"serve a page about the node at / of `ADDR`, host:port or unix:PATH, with /live, /ready, /startup for probes, and\n"+
			"/debug/pprof/; all but the probes for users of this machine only")
	f.BoolVar(&o.operator, "operator", false,
		"answer Observer, etop, LiveDashboard and the shells' helpers, and give erl -remsh and iex --remsh a console")
}

func (o *operated) check(w *workers) error {
	switch {
	case o.http != "" && w.number > 0:
		return cli.Usagef("--http is for one process, without --workers")
	case o.http == "" || strings.HasPrefix(o.http, "unix:"):
		return nil
	}
	if _, _, err := net.SplitHostPort(o.http); err != nil {
		return cli.Usagef("--http %q: want host:port or unix:PATH", o.http)
	}
	return nil
}

// answer has the node answer the tools of operators, if the flags ask for it.
func (o *operated) answer(n *nodes.Node) error {
	if !o.operator {
		return nil
	}
	return errors.Join(observer.Serve(n, nil), console.Serve(n, nil))
}

// serve serves --http, beside the node. It does not wait. An address that cannot be listened at is
// an error, unless the process whose node this one has taken over may still have it.
func (o *operated) serve(u *upgrade.Upgrader, n *nodes.Node, log *slog.Logger, scope *pg.Scope, takenOver bool) error {
	if o.http == "" {
		return nil
	}
	s := o.pages(n, log, scope)
	l, err := o.listen(u)
	switch {
	case err == nil:
		go serveAt(l, s, n, log)
	case !takenOver:
		return fmt.Errorf("--http %s: %w", o.http, err)
	default:
		go func() {
			if l := o.awaitAddress(u, n, log); l != nil {
				serveAt(l, s, n, log)
			}
		}()
	}
	return nil
}

// pages are what --http serves.
func (o *operated) pages(n *nodes.Node, log *slog.Logger, scope *pg.Scope) *http.Server {
	shown := &debugz.Options{}
	if scope != nil {
		shown.Groups = []*pg.Scope{scope}
	}
	mux := http.NewServeMux()
	mux.Handle("/{$}", debugz.New(n, shown))
	mux.Handle("/live", health.Live(n))
	mux.Handle("/ready", health.Ready(n))
	mux.Handle("/startup", health.Startup(n))
	profiles := http.NewServeMux()
	profiles.HandleFunc("/debug/pprof/", pprof.Index)
	profiles.HandleFunc("/debug/pprof/profile", pprof.Profile)
	profiles.HandleFunc("/debug/pprof/trace", pprof.Trace)
	profiles.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.Handle("/debug/pprof/", debugz.OnlyLocal(profiles))
	return &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
}

// awaitAddress listens as soon as the previous process does not any more; nil: the node has ended
// before.
func (o *operated) awaitAddress(u *upgrade.Upgrader, n *nodes.Node, log *slog.Logger) net.Listener {
	for begun, said := time.Now(), false; ; {
		l, err := o.listen(u)
		if err == nil {
			return l
		}
		if !said && (!errors.Is(err, syscall.EADDRINUSE) || time.Since(begun) > 10*time.Second) {
			log.Error("--http: there is no page yet", "error", err)
			said = true
		}
		select {
		case <-n.Done():
			return nil
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// serveAt serves until the node's end, or until it is another process's.
func serveAt(l net.Listener, s *http.Server, n *nodes.Node, log *slog.Logger) {
	log.Info("--http serves", "address", l.Addr())
	go func() {
		<-n.Done()
		if !errors.Is(n.Err(), nodes.ErrMoved) {
			_ = s.Close()
		}
	}()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		log.Error("--http: the page has ended", "error", err)
	}
}

// listen listens at the address. A socket's file that nobody serves any more is in the way.
func (o *operated) listen(u *upgrade.Upgrader) (net.Listener, error) {
	path, isPath := strings.CutPrefix(o.http, "unix:")
	if !isPath {
		return u.Listen("tcp", o.http)
	}
	l, err := u.Listen("unix", path)
	if !errors.Is(err, syscall.EADDRINUSE) {
		return l, err
	}
	if c, dialled := net.Dial("unix", path); dialled == nil {
		return nil, errors.Join(err, c.Close())
	} else if info, stat := os.Lstat(path); stat != nil || info.Mode().Type() != fs.ModeSocket {
		return nil, fmt.Errorf("%w, by something that is no socket", err)
	}
	if err := os.Remove(path); err != nil {
		return nil, err
	}
	return u.Listen("unix", path)
}
