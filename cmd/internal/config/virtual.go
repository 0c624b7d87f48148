package config

import (
	"cmp"
	"strconv"
	"time"

	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
	"github.com/spf13/pflag"
)

// Virtual are the flags that put something between a node and the transports that carry its
// connections.
type Virtual struct {
	Trace string
	Fault string
}

func (v *Virtual) AddTo(f *pflag.FlagSet) {
	f.StringVar(&v.Trace, "trace", "", "write all that connections carry to `FILE`, for Wireshark:\n"+
		"tshark -r FILE -d tcp.port==PORT,erldp (4370 is the PORT of unix sockets)")
	f.StringVar(&v.Fault, "fault", "", "split, join and delay the reads and writes of connections at random places; the same\n"+
		"`SEED`, a number, does the same again (--log-level debug shows what it does)")
}

// Over puts what the flags ask for under a node, and gives the recording, if there is one.
func (v *Virtual) Over(cfg *nodes.Config) (record *recording, err error) {
	if v.Trace == "" && v.Fault == "" {
		return nil, nil
	}
	seed, err := strconv.ParseUint(cmp.Or(v.Fault, "0"), 10, 64)
	if err != nil {
		return nil, cli.Usagef("--fault %s: want a number from 0 to 18446744073709551615", v.Fault)
	}
	// so that an invalid configuration makes no file, and empties none
	if _, err := nodes.New(*cfg); err != nil {
		return nil, err
	}
	put := func(over func(transport.Transport) transport.Transport) {
		cfg.Transport = over(cfg.Transport)
		for i := range cfg.Also {
			cfg.Also[i].Transport = over(cfg.Also[i].Transport)
		}
	}
	if v.Trace != "" { // nearest to the wire, so that the recording shows what a fault has cut
		if record, err = openRecording(v.Trace); err != nil {
			return nil, err
		}
		put(func(tr transport.Transport) transport.Transport {
			return virtual.Trace(tr, virtual.TraceOptions{Capture: record.capture})
		})
	}
	if v.Fault != "" {
		o := virtual.GentleFaults(seed)
		o.Log = cfg.Logger
		put(func(tr transport.Transport) transport.Transport { return virtual.Fault(tr, o) })
	}
	return record, nil
}

// Polling is the flag for how long readers nap, or look again, before they sleep.
type Polling struct {
	limit time.Duration
	asked bool // the command has the flag
}

func (p *Polling) AddTo(f *pflag.FlagSet) {
	p.asked = true
	f.DurationVar(&p.limit, "polling", transport.DefaultPolling,
		"`DURATION` for which a reader naps in a one-way flow, and looks for the rest of large\n"+
			"messages, up to "+transport.MaxPolling.String()+"; 0: never (Linux)")
}

func (p *Polling) Check() error {
	if p.limit < 0 || p.limit > transport.MaxPolling {
		return cli.Usagef("--polling %v: want 0 to %v", p.limit, transport.MaxPolling)
	}
	return nil
}

// OverTLS gives the limit as tlstransport.Options has it, where 0 is the default and -1 is none.
// The readers of that transport wait by themselves, not in package transport.
func (p *Polling) OverTLS() time.Duration {
	switch {
	case !p.asked:
		return 0
	case p.limit == 0:
		return -1
	}
	return p.limit
}

// Over sets the limit in a node's transports.
func (p *Polling) Over(cfg *nodes.Config) {
	if p.limit == transport.DefaultPolling {
		return
	}
	cfg.Transport = transport.WithPolling(cfg.Transport, p.limit)
	for i := range cfg.Also {
		cfg.Also[i].Transport = transport.WithPolling(cfg.Also[i].Transport, p.limit)
	}
}
