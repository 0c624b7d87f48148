package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/nodes/debugz"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Parse(pageText))

// A page is what --http serves.
type page struct {
	server *http.Server
	stop   context.CancelFunc
	wg     sync.WaitGroup
}

// close ends the page. It may be called again, and on a page that was not asked for.
func (p *page) close() {
	if p.server == nil {
		return
	}
	p.stop()
	_ = p.server.Close()
	p.wg.Wait()
}

// page serves --http. An address that cannot be listened at is an error, unless the process that
// this one has taken over may still have it.
func (f *flags) page(ctx context.Context, k *front.Keeper, heir bool, log *slog.Logger) (*page, error) {
	if f.http == "" {
		return &page{}, nil
	}
	mux := http.NewServeMux()
	mux.Handle("/{$}", debugz.OnlyLocal(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		_ = pageTemplate.Execute(w, k.Stats())
	})))
	mux.Handle("/stats", debugz.OnlyLocal(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(k.Stats())
	})))
	mux.Handle("/metrics", debugz.OnlyLocal(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		writeMetrics(w, k.Stats())
	})))
	p := &page{server: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}}
	ctx, p.stop = context.WithCancel(context.WithoutCancel(ctx))
	l, err := net.Listen("tcp", f.http)
	if err != nil && !heir {
		p.stop()
		return nil, fmt.Errorf("--http %s: %w", f.http, err)
	}
	p.wg.Go(func() {
		for l == nil { // the previous process has it for another moment
			select {
			case <-ctx.Done():
				return
			case <-time.After(50 * time.Millisecond):
			}
			l, _ = net.Listen("tcp", f.http)
		}
		log.Info("--http serves", "address", l.Addr())
		_ = p.server.Serve(l)
	})
	return p, nil
}

// writeMetrics writes numbers in the text format of Prometheus.
func writeMetrics(w io.Writer, s front.Stats) {
	one := func(name, kind, help string, value uint64) {
		fmt.Fprintf(w, "# HELP cnode_front_%s %s\n# TYPE cnode_front_%s %s\ncnode_front_%s %d\n", name, help, name, kind, name, value)
	}
	total := func(name, help string, value uint64) { one(name+"_total", "counter", help, value) }
	total("accepted", "Clients accepted.", s.Accepted)
	total("dialled", "Connections made for workers.", s.Dialled)
	total("refused", "Clients closed before they had a worker.", s.Refused)
	total("forwarded", "Sessions given to workers; one that moves counts again.", s.Forwarded)
	total("points", "Points that workers have told.", s.Points)
	total("moved", "Sessions that have left a worker and went on.", s.Moved)
	total("reset", "Sessions that their worker has lost at no point.", s.Reset)
	total("returned", "Sessions that a worker had no descriptor for.", s.Returned)
	total("done", "Sessions that workers have ended.", s.Done)
	total("gone", "Sessions whose client was gone when they were to be given or settled.", s.Gone)
	total("expired", "Sessions for which there was no worker in time.", s.Expired)
	total("left", "Sessions that are wholly their worker's.", s.Left)
	gauge := func(name, help string, value int) { one(name, "gauge", help, uint64(value)) }
	gauge("sessions", "Sessions of which the front has a duplicate.", s.Sessions)
	gauge("parked", "Sessions that wait for a worker.", s.Parked)
	gauge("unclaimed", "Connections made for workers that none has.", s.Unclaimed)
	gauge("beginning", "Clients that have not sent what has to come first.", s.Beginning)
	gauge("workers", "Workers.", len(s.Workers))
	fmt.Fprint(w, "# HELP cnode_front_worker_sessions Sessions of a worker.\n# TYPE cnode_front_worker_sessions gauge\n")
	for _, v := range s.Workers {
		name := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(v.Name)
		fmt.Fprintf(w, "cnode_front_worker_sessions{worker=\"%d\",name=\"%s\",pid=\"%s\"} %d\n", v.ID, name, strconv.Itoa(v.PID), v.Sessions)
	}
}
