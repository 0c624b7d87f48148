// Package debugz is a page for whoever wants to see what a node does: who is connected, over what
// and how busy, processes and their queues, calls and how long they take, groups, global names,
// trees of processes, and what was refused or has failed lately.
//
//	http.Handle("/debug/node/", debugz.New(n, nil))
//
// The page has no scripts, styles or pictures of others. It renews itself where scripts run, and
// can be read where they do not; with ?view=json it is for programs. It shows names, addresses and
// reasons, but nothing of what messages contain, and changes nothing. Peers choose names: a long
// one is cut, in both forms, and ends in … and its size.
//
// A browser does not get it for a page of another site, or of another port, whoever it is for
// ([Options].Remote): it says by Sec-Fetch-Site, or Origin, who asks. Links to it work.
//
// # Stability
//
// New, Options and OnlyLocal may change before 1.0, and so may the fields of the JSON; CHANGELOG.md
// says so then. The page is for people, and changes as is useful to them.
package debugz

import (
	"bytes"
	"crypto/rand"
	_ "embed" // the page
	"encoding/json"
	"html/template"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/nodes/metrics"
	"github.com/cnode-go/cnode/nodes/pg"
)

// Options are what a page shows besides, and to whom.
type Options struct {
	Groups []*pg.Scope    // whose groups are shown
	Names  *global.Global // whose names are shown; nil: none

	// Remote lets others than this machine's users see it: for a handler behind one that asks for a
	// password, say. Else only what comes through a UNIX socket, or from and to a loopback address
	// without a proxy in between, is answered.
	Remote bool
}

// A Page is an http.Handler. Whatever is below it in the tree of paths is the page.
type Page struct {
	n    *nodes.Node
	o    Options
	stop func()

	mu      sync.Mutex
	up      map[string]time.Time // connections since New, by the name of the other node
	events  []event              // the latest, oldest first
	samples []sample             // oldest first
}

// New gives the page of a node, which keeps the latest events and figures until Close, or the
// node's end. Call it before Start, or in Config.Setup, to see all connections. The defaults of
// Options are in nil. In a worker (see workers.Front) it shows that worker.
func New(n *nodes.Node, o *Options) *Page {
	p := &Page{n: n, up: map[string]time.Time{}}
	if o != nil {
		p.o = *o
	}
	p.stop = n.Measure(&metrics.Hooks{
		ConnUp: func(c *metrics.Conn) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.up[c.Peer] = c.Since
		},
		ConnDown: func(c *metrics.Conn, cause string, err error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			if p.up[c.Peer].Equal(c.Since) {
				delete(p.up, c.Peer)
			}
			p.noteLocked(event{What: "connection lost: " + cause, Who: c.Peer, Why: textOf(err)})
		},
		HandshakeFailed: func(h metrics.Handshake) {
			p.note(event{What: "handshake failed: " + h.Cause, Who: h.Peer, Why: textOf(h.Err)})
		},
		Denied: func(peer, op, target string) { p.note(event{What: "refused: " + op, Who: peer, Why: target}) },
		MailboxFull: func(process string) {
			p.note(event{What: "mailbox full", Who: process})
		},
	})
	return p
}

// Close ends what the page costs the node. It goes on to show what it can. The error is nil.
func (p *Page) Close() error {
	p.stop()
	return nil
}

// An event is something that whoever looks for a fault wants to know.
type event struct {
	At             time.Time
	What, Who, Why string
}

const mostEvents = 100

func textOf(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func (p *Page) note(e event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.noteLocked(e)
}

// noteLocked is called with p.mu held. Names and reasons come from peers.
func (p *Page) noteLocked(e event) {
	e.At = time.Now()
	e.What, e.Who, e.Why = cut(e.What), cut(e.Who), cut(e.Why)
	if len(p.events) == mostEvents {
		p.events = append(p.events[:0], p.events[1:]...)
	}
	p.events = append(p.events, e)
}

//go:embed page.html
var text string

// ServeHTTP answers GET: the parameter sort says by what processes are sorted (queue, bytes,
// handled), and view=json asks for the figures alone.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	guard := OnlyLocal
	if p.o.Remote {
		guard = ownSite
	}
	guard(http.HandlerFunc(p.serve)).ServeHTTP(w, r)
}

func (p *Page) serve(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "This page only shows something.", http.StatusMethodNotAllowed)
		return
	}
	v := p.look(r.FormValue("sort"))
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	var b bytes.Buffer
	if r.FormValue("view") == "json" {
		h.Set("Content-Type", "application/json")
		e := json.NewEncoder(&b)
		e.SetIndent("", "  ")
		if err := e.Encode(v); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	} else {
		nonce := rand.Text()
		h.Set("Content-Type", "text/html; charset=utf-8")
		h.Set("Content-Security-Policy", "default-src 'none'; connect-src 'self'; base-uri 'none'; form-action 'none'; "+
			"frame-ancestors 'none'; style-src 'nonce-"+nonce+"'; script-src 'nonce-"+nonce+"'")
		t, err := template.New("page").Funcs(functions).Parse(text)
		if err == nil {
			err = t.Execute(&b, struct {
				*view
				Nonce string
			}{v, nonce})
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	_, _ = w.Write(b.Bytes())
}

// OnlyLocal lets h answer what comes through a UNIX socket, or from and to a loopback address
// without a proxy in between, and refuses the rest: for whatever else only users of this machine
// are to see, such as net/http/pprof. A proxy on this machine is known by the headers that it adds
// (Forwarded, X-Forwarded-For, X-Real-Ip, Via), or by the Host that it passes on; one that does
// neither, as nginx's proxy_pass without proxy_set_header, is not to lead here. What a page of
// another site asks a browser of this machine for is refused, too, by Sec-Fetch-Site or Origin,
// unless it is a link to h that is followed.
func OnlyLocal(h http.Handler) http.Handler {
	h = ownSite(h)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !isLocal(r) {
			http.Error(w, "This is for users of this machine only.", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// ownSite lets h answer what no page of another site asks for.
func ownSite(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isForeign(r) {
			http.Error(w, "This is not for pages of other sites.", http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// isForeign tells whether a page of another site has a browser ask. One that only leads to h, by a
// link, neither shows nor reads what is there.
func isForeign(r *http.Request) bool {
	reads := r.Method == http.MethodGet || r.Method == http.MethodHead
	if reads && r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document" {
		return false
	}
	asked := r.WithContext(r.Context())
	asked.Method = http.MethodPost // the library's check lets whatever only reads pass
	return http.NewCrossOriginProtection().Check(asked) != nil
}

// isLocal tells whether a request comes from this machine. What a proxy passes on may be from
// anywhere, and so may what a browser asks of a name that somebody has made to mean 127.0.0.1.
func isLocal(r *http.Request) bool {
	for _, header := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip", "Via"} {
		if r.Header.Get(header) != "" {
			return false
		}
	}
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok && local.Network() == "unix" {
		return true
	}
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil || !from.Addr().Unmap().IsLoopback() {
		return false
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	at, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && at.Unmap().IsLoopback()
}
