package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/spf13/pflag"
)

// also are the flags for more addresses at which serve listens, each TRANSPORT:ADDRESS.
type also struct{ given []string }

func (a *also) addTo(f *pflag.FlagSet) {
	f.StringArrayVar(&a.given, "also", nil,
		"listen at another address as well: `tcp|tls:IP:PORT`, or unix:SOCKET; may be repeated. The port mapper\n"+
			"does not know about it: give a fixed port")
}

// overTLS reports whether one of the addresses is for TLS.
func (a *also) overTLS() bool {
	for _, given := range a.given {
		if strings.HasPrefix(given, "tls:") {
			return true
		}
	}
	return false
}

// over adds the addresses to a node's configuration. tls makes the transport that --tls-optfile
// describes.
func (a *also) over(cfg *nodes.Config, tls func() (transport.Transport, error)) error {
	for _, given := range a.given {
		e, err := parseAlso(given, tls)
		if err != nil {
			return err
		}
		cfg.Also = append(cfg.Also, e)
	}
	return nil
}

func parseAlso(given string, tls func() (transport.Transport, error)) (e nodes.Endpoint, err error) {
	kind, address, _ := strings.Cut(given, ":")
	switch kind {
	case "tcp":
		e.Transport = transport.TCP()
	case "tls":
		if e.Transport, err = tls(); err != nil {
			return e, err
		}
	case "unix":
		e.Transport, address = transport.Unix(), given
	default:
		return e, usagef("--also %q: want tcp:IP:PORT, tls:IP:PORT or unix:SOCKET", given)
	}
	if e.Addr, err = transport.ParseAddr(address); err != nil {
		return e, &usageError{fmt.Errorf("--also %s: %w", given, err)}
	}
	if _, err := transport.AddrPort(e.Addr); err != nil && kind != "unix" {
		return e, usagef("--also %s: want an IP address and a port", given)
	}
	return e, nil
}

// announce prints the addresses really bound. Those that a previous process has handed over may
// differ from those asked for.
func (a *also) announce(out io.Writer, listeners []*nodes.Listener) {
	for i, l := range listeners {
		kind := "tcp"
		if i < len(a.given) {
			kind, _, _ = strings.Cut(a.given[i], ":")
		}
		fmt.Fprintf(out, "also %s:%s\n", kind, strings.TrimPrefix(l.Addr().String(), kind+":"))
	}
}

// firstDone gives the first listener that does not accept any more.
func firstDone(listeners []*nodes.Listener) <-chan *nodes.Listener {
	first := make(chan *nodes.Listener, len(listeners))
	for _, l := range listeners {
		go func() {
			<-l.Done()
			first <- l
		}()
	}
	return first
}
