package main

import (
	"time"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/spf13/pflag"
)

// polling is the flag for how long readers poll before they sleep.
type polling struct {
	limit time.Duration
	asked bool // the command has the flag
}

func (p *polling) addTo(f *pflag.FlagSet) {
	p.asked = true
	f.DurationVar(&p.limit, "polling", transport.DefaultPolling,
		"`DURATION` for which the reader of a busy connection polls before it sleeps, up to\n"+
			transport.MaxPolling.String()+"; 0: never, which is slower but saves processor time (Linux)")
}

func (p *polling) check() error {
	if p.limit < 0 || p.limit > transport.MaxPolling {
		return usagef("--polling %v: want 0 to %v", p.limit, transport.MaxPolling)
	}
	return nil
}

// overTLS gives the limit as tlstransport.Options has it, where 0 is the default and -1 is none.
// The readers of that transport wait by themselves, not in package transport.
func (p *polling) overTLS() time.Duration {
	switch {
	case !p.asked:
		return 0
	case p.limit == 0:
		return -1
	}
	return p.limit
}

// over sets the limit in a node's transports.
func (p *polling) over(cfg *nodes.Config) {
	if p.limit == transport.DefaultPolling {
		return
	}
	cfg.Transport = transport.WithPolling(cfg.Transport, p.limit)
	for i := range cfg.Also {
		cfg.Also[i].Transport = transport.WithPolling(cfg.Also[i].Transport, p.limit)
	}
}
