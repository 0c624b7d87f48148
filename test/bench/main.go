// Bench prints how this SDK compares with its peers: a real Erlang node measures, in turn, a
// program written with C's libei, another Erlang node, a program written with ergo, and two of
// ours. See README.md.
//
//	go run ./test/bench [--transport tls [--tls-optfile FILE]] [--otp 25|27|29] [--quick] [--rounds N]
//	  [--only PATTERN] [--peers LIST] [--before DIR] [--pgo FILE] [--json] [--svg FILE]
//	go run ./test/bench --from FILE [--svg FILE]
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/internal/test/otp"
)

// What a run takes, and what a quick one does.
const (
	defaultRounds = 7
	quickRounds   = 3
	defaultCell   = 350 * time.Millisecond // one measurement of one peer
	quickCell     = 60 * time.Millisecond
	defaultSettle = 3 * time.Second // before a look at a peer that does nothing: idle readers rest by then
	quickSettle   = 500 * time.Millisecond
	defaultIdle   = 1000 // connections
)

// options are what the command line says.
type options struct {
	otp       int // 0: the oldest release there is
	rounds    int
	cell      time.Duration
	settle    time.Duration
	idle      int // connections held
	quick     bool
	only      *regexp.Regexp // names of measurements; nil: all
	peers     []string       // names of kinds; nil: all
	tls       bool           // else TCP
	tlsOpt    string         // option file of all nodes; empty: one that the benchmark makes
	buffer    int            // of the Erlang nodes, in bytes; 0: as Erlang has it
	json      bool
	svg       string // a file that the ratios are drawn into; empty: none
	from      string // a file of JSON that is printed or drawn, and nothing measured; empty: none
	callers   int    // processes that call at the same time, of upper
	computing int    // programs that compute beside what is measured on a busy machine
	pgo       string // a profile that our programs are built with; empty: none
	before    string // a directory with an earlier state of this module; empty: none
}

func main() {
	o, err := parse(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		stop()
		os.Exit(1)
	}
}

func parse(args []string, errors io.Writer) (options, error) {
	var o options
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.SetOutput(errors)
	f.IntVar(&o.otp, "otp", 0, "`release` of the Erlang nodes: 25, 27 or 29 (default the oldest there is)")
	f.IntVar(&o.rounds, "rounds", 0, fmt.Sprintf("`number` of rounds (default %d, quick %d)", defaultRounds, quickRounds))
	f.IntVar(&o.buffer, "buffer", 0, "`bytes` that both Erlang nodes read at once, their option {buffer,N} (default as Erlang has it)")
	f.BoolVar(&o.quick, "quick", false, "less than a minute, and less exact")
	f.BoolVar(&o.json, "json", false, "print JSON with every single value")
	f.StringVar(&o.svg, "svg", "", "draw the ratios into this `file` as well")
	f.StringVar(&o.from, "from", "", "measure nothing: print or draw what --json has printed into this `file`")
	f.IntVar(&o.callers, "callers", 16, "`number` of processes of the Erlang node that call at the same time, of upper")
	f.IntVar(&o.computing, "computing", runtime.NumCPU(), "`number` of programs that compute beside busy-round-trip, busy-out and busy-in")
	f.IntVar(&o.idle, "idle", defaultIdle, "`number` of idle connections; a node of this program needs a descriptor for each")
	f.DurationVar(&o.settle, "settle", 0, fmt.Sprintf("`time` before a look at idle connections, and between two (default %v, quick %v)",
		defaultSettle, quickSettle))
	f.DurationVar(&o.cell, "cell", 0, fmt.Sprintf("`time` of one measurement (default %v, quick %v)", defaultCell, quickCell))
	f.Func("only", "take only measurements whose name (round-trip/16B, in/1KB, out/1MB, busy-round-trip/64KB, connect/erlang, "+
		"connect/peer, crowd, idle, dispatch, upper, groups, handoff, codec, line/8Mbit-0ms, line/loopback, line/dead, doors/1KB) "+
		"matches the `pattern`",
		func(s string) (err error) {
			o.only, err = regexp.Compile(s)
			return err
		})
	f.Func("transport", "what carries the distribution: tcp or `tls` (default tcp)", func(s string) error {
		if s != "tcp" && s != "tls" {
			return fmt.Errorf("%q is neither tcp nor tls", s)
		}
		o.tls = s == "tls"
		return nil
	})
	f.Func("tls-optfile", "`file` of TLS options for all nodes, with --transport tls (default one made for the run)",
		func(s string) (err error) {
			o.tlsOpt, err = filepath.Abs(s) // peers may be started in other directories
			return err
		})
	f.Func("before", "`directory` with an earlier state of this module, whose ours is measured too, as the peer before",
		func(s string) (err error) {
			o.before, err = filepath.Abs(s)
			return err
		})
	f.Func("pgo", "build our programs with this profile, a `file` as test/pgo.sh makes it; not those of --before", func(s string) (err error) {
		o.pgo, err = filepath.Abs(s)
		return err
	})
	f.Func("peers", "take only the peers of this `list`: "+strings.Join(kindNames(), ","), func(s string) error {
		for name := range strings.SplitSeq(s, ",") {
			if !slices.Contains(kindNames(), name) {
				return fmt.Errorf("%q is none of %s", name, strings.Join(kindNames(), ", "))
			}
			o.peers = append(o.peers, name)
		}
		return nil
	})
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if f.NArg() > 0 {
		f.Usage()
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	if o.tlsOpt != "" && !o.tls {
		err := fmt.Errorf("--tls-optfile is for --transport tls")
		fmt.Fprintln(f.Output(), err)
		f.Usage()
		return o, err
	}
	if o.rounds < 1 {
		o.rounds = defaultRounds
		if o.quick {
			o.rounds = quickRounds
		}
	}
	if o.settle <= 0 {
		o.settle = defaultSettle
		if o.quick {
			o.settle = quickSettle
		}
	}
	if o.cell <= 0 {
		o.cell = defaultCell
		if o.quick {
			o.cell = quickCell
		}
	}
	return o, nil
}

// run measures and prints the table, and draws it if that is wanted.
func run(ctx context.Context, o options, out, progress io.Writer) error {
	r, err := reportOf(ctx, o, progress)
	if err != nil {
		return err
	}
	if o.svg != "" {
		if err := os.WriteFile(o.svg, r.svg(), 0o644); err != nil {
			return err
		}
	}
	if o.json {
		return r.writeJSON(out)
	}
	return r.writeText(out)
}

// reportOf measures, or reads an earlier report. It says on progress what it is doing.
func reportOf(ctx context.Context, o options, progress io.Writer) (r report, err error) {
	if o.from != "" {
		text, err := os.ReadFile(o.from)
		if err != nil {
			return r, err
		}
		if err := json.Unmarshal(text, &r); err != nil {
			return r, fmt.Errorf("%s: %w", o.from, err)
		}
		r.Rows = slices.DeleteFunc(r.Rows, func(row outcome) bool { return !matches(o.only, measurementOf(row.Name)) })
		for i := range r.Rows {
			r.Rows[i].aside = strings.HasSuffix(r.Rows[i].Name, "/driver-cpu")
		}
		return r, nil
	}
	release, err := findRelease(o.otp)
	if err != nil {
		return r, err
	}
	a, err := open(ctx, release, o, progress)
	if err != nil {
		return r, err
	}
	defer a.close()
	begun := time.Now()
	if err := a.measure(ctx); err != nil {
		return r, err
	}
	return a.report(begun), nil
}

func findRelease(number int) (otp.Release, error) {
	found, err := otp.Find()
	if err != nil {
		return otp.Release{}, err
	}
	for _, r := range found {
		if number == 0 || r.Number == number {
			return r, nil
		}
	}
	return otp.Release{}, fmt.Errorf("no Erlang/OTP %d: CNODE_TEST_OTP does not name it (test/prepare.sh makes 27 and 29)", number)
}
