package main

import (
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/spf13/pflag"
)

// polling is the flag for how long readers try for themselves before they sleep.
type polling struct{ limit time.Duration }

func (p *polling) addTo(f *pflag.FlagSet) {
	f.DurationVar(&p.limit, "polling", transport.DefaultPolling, "`DURATION` for which a busy connection's reader tries by itself before it sleeps, up to\n"+
		transport.MaxPolling.String()+"; 0: never, which is slower, and spares the processor (Linux)")
}

func (p *polling) check() error {
	if p.limit < 0 || p.limit > transport.MaxPolling {
		return usagef("--polling %v: want 0 to %v", p.limit, transport.MaxPolling)
	}
	return nil
}

// over gives a node's transport the limit.
func (p *polling) over(cfg *nodes.Config) {
	if p.limit == transport.DefaultPolling {
		return
	}
	tr := cfg.Transport
	if tr == nil {
		tr = transport.TCP()
	}
	cfg.Transport = transport.WithPolling(tr, p.limit)
	if dir, ok := cfg.Resolver.(nodes.SocketDir); ok {
		cfg.Resolver = through{dir}
	}
}
