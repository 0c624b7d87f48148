package main

import (
	"context"
	"io"
	"strconv"

	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
	"github.com/cnode-go/cnode/transport/virtual"
	"github.com/spf13/pflag"
)

// virtualFlags are the flags that put something between a node and the transports that carry its
// connections.
type virtualFlags struct {
	trace string
	fault string
	seed  uint64
}

func (v *virtualFlags) addTo(f *pflag.FlagSet) {
	f.StringVar(&v.trace, "trace", "", "write all that connections carry to `FILE`, for Wireshark:\n"+
		"tshark -r FILE -d tcp.port==PORT,erldp (4370 is the PORT of unix sockets)")
	f.StringVar(&v.fault, "fault", "", "split, join and delay the reads and writes of connections at random places; the same\n"+
		"`SEED`, a number, does the same again (--log-level debug shows what it does)")
}

func (v *virtualFlags) check() (err error) {
	if v.fault != "" {
		if v.seed, err = strconv.ParseUint(v.fault, 10, 64); err != nil {
			return usagef("--fault %s: want a number from 0 to 18446744073709551615", v.fault)
		}
	}
	return nil
}

// over puts what the flags ask for under a node, and gives the recording, if there is one.
func (v *virtualFlags) over(ctx context.Context, cfg *nodes.Config, errOut io.Writer) (record *recording, err error) {
	if v.trace == "" && v.fault == "" {
		return nil, nil
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
	if v.trace != "" { // nearest to the wire, so that the recording shows what a fault has cut
		if record, err = openRecording(ctx, v.trace, errOut); err != nil {
			return nil, err
		}
		put(func(tr transport.Transport) transport.Transport {
			return virtual.Trace(tr, virtual.TraceOptions{Capture: record.capture})
		})
	}
	if v.fault != "" {
		o := virtual.GentleFaults(v.seed)
		o.Log = cfg.Logger
		put(func(tr transport.Transport) transport.Transport { return virtual.Fault(tr, o) })
	}
	return record, nil
}
