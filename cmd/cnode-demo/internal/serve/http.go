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
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/cli"
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

	at atomic.Pointer[upgrade.Listener] // of --http; nil: not yet
}

// beside is what goes on in another process with the node.
func (o *operated) beside() (list []*upgrade.Listener) {
	if l := o.at.Load(); l != nil {
		list = append(list, l)
	}
	return list
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

// start switches on what the flags ask for. It does not wait. Unless another process is to hand the
// node over, which has the address until then, one that cannot be listened at is an error.
func (o *operated) start(n *nodes.Node, log *slog.Logger, scope *pg.Scope, isComing bool) error {
	if o.operator {
		if err := errors.Join(observer.Serve(n, nil), console.Serve(n, nil)); err != nil {
			return err
		}
	}
	if o.http == "" {
		return nil
	}
	var l *upgrade.Listener
	if !isComing {
		var err error
		if l, err = o.listen(); err != nil {
			return fmt.Errorf("--http %s: %w", o.http, err)
		}
	}
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
	go o.serve(n, log, l, &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(),
		slog.LevelDebug)})
	return nil
}

// serve serves from the node's start until its end, or until it is another process's. That one has
// the address, or waits for it if it was started with --takeover; l is nil then.
func (o *operated) serve(n *nodes.Node, log *slog.Logger, l *upgrade.Listener, s *http.Server) {
	for n.State() == nodes.StateStarting { // meanwhile the process that has had the node answers
		select {
		case <-n.Done():
			if l != nil {
				_ = l.Close()
			}
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	for begun, said := time.Now(), false; l == nil; {
		var err error
		if l, err = o.listen(); err == nil {
			break
		}
		if !said && (!errors.Is(err, syscall.EADDRINUSE) || time.Since(begun) > 10*time.Second) {
			log.Error("--http: there is no page yet", "error", err)
			said = true
		}
		select {
		case <-n.Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
	o.at.Store(l)
	log.Info("--http serves", "address", l.Addr())
	go func() {
		<-n.Done()
		if errors.Is(n.Err(), nodes.ErrMoved) {
			l.Leave()
			return
		}
		_ = s.Close()
	}()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		log.Error("--http: the page has ended", "error", err)
	}
}

// listen listens at the address. A socket's file that nobody serves any more is in the way.
func (o *operated) listen() (*upgrade.Listener, error) {
	path, isPath := strings.CutPrefix(o.http, "unix:")
	if !isPath {
		return upgrade.Listen("tcp", o.http)
	}
	l, err := upgrade.Listen("unix", path)
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
	return upgrade.Listen("unix", path)
}
