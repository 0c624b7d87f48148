package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// options are what the command line says.
type options struct {
	node     string // -n, -name, -sname
	long     bool   // its host is a whole name: -n, -name
	host     string // -address: empty is this machine
	port     uint16 // -address: 0 if it is not given
	cookie   string // -c: empty is that of the cookie file
	hidden   string // -h
	random   bool   // -r
	dynamic  bool   // -R
	start    bool   // -s
	script   string // -x
	halt     bool   // -q
	module   bool   // -m
	eval     bool   // -e
	apply    *apply // -a
	timeout  time.Duration
	noResult bool
	verbose  bool
	debug    bool

	fetchStdout bool

	// What erl_call does not have; the names are those of erl.
	optFile string // -ssl_dist_optfile: the distribution runs over TLS
}

// errUsage is what erl_call answers with its usage and exit code 0.
var errUsage = errors.New("usage")

// errHelp asks for the usage, which is then the output.
var errHelp = errors.New("help")

// errVersion asks for the version.
var errVersion = errors.New("version")

// parseOptions reads the command line. The later one of two options that exclude each other counts,
// as for erl_call, unless both are an error there.
func parseOptions(args []string) (*options, error) {
	o := &options{script: "erl"}
	f := flag.NewFlagSet("erl-call", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	target := func(long bool) func(string) error {
		return func(name string) error {
			o.node, o.long = name, long
			return nil
		}
	}
	f.Func("n", "", target(true))
	f.Func("name", "", target(true))
	f.Func("sname", "", target(false))
	f.Func("address", "", o.setAddress)
	f.Func("a", "", func(text string) (err error) {
		o.apply, err = parseApply(text)
		return err
	})
	f.Func("timeout", "", o.setTimeout)
	f.StringVar(&o.cookie, "c", "", "")
	f.StringVar(&o.hidden, "h", "", "")
	f.StringVar(&o.script, "x", o.script, "")
	f.StringVar(&o.optFile, "ssl_dist_optfile", "", "")
	var help, version bool
	for name, to := range map[string]*bool{"s": &o.start, "q": &o.halt, "v": &o.verbose, "d": &o.debug, "r": &o.random, "R": &o.dynamic,
		"e": &o.eval, "m": &o.module, "?": &help, "fetch_stdout": &o.fetchStdout, "no_result_term": &o.noResult,
		"version": &version} {
		f.BoolVar(to, name, false, "")
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			err = errHelp
		}
		return nil, err
	}
	switch {
	case version:
		return nil, errVersion
	case f.NArg() > 0:
		return nil, fmt.Errorf("%q is no option; arguments of a call are quoted together with it: -a 'lists seq [1,3]'", f.Arg(0))
	case help:
		return nil, errUsage
	case o.module && o.eval:
		return nil, fmt.Errorf("%w: -m and -e both read the standard input", errUsage)
	case o.port != 0 && (o.start || o.node != ""):
		return nil, fmt.Errorf("%w: -address excludes -s, -n, -name and -sname", errUsage)
	case o.port == 0 && o.node == "":
		return nil, fmt.Errorf("%w: which node? give -n, -name, -sname or -address", errUsage)
	}
	return o, nil
}

// setAddress takes [HOST:]PORT; a HOST that is an IPv6 address is in brackets.
func (o *options) setAddress(text string) error {
	host, port := "", text
	if strings.Contains(text, ":") {
		var err error
		if host, port, err = net.SplitHostPort(text); err != nil {
			return err
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("want [HOST:]PORT with a port from 1 to 65535")
	}
	o.host, o.port = host, uint16(n)
	return nil
}

// maxTimeout is the first number of seconds that erl_call refuses.
const maxTimeout = 1 << 20

func (o *options) setTimeout(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n >= maxTimeout {
		return fmt.Errorf("want seconds, from 1 to %d", maxTimeout-1)
	}
	o.timeout = time.Duration(n) * time.Second
	return nil
}

// usage explains the options, and returns the exit code: erl_call's is 0 unless an option is wrong
// by itself.
func usage(w io.Writer, err error) int {
	if err != errUsage {
		fmt.Fprintf(w, "erl-call: %v\n", err)
	}
	_, _ = io.WriteString(w, usageText)
	if errors.Is(err, errUsage) {
		return exitOK
	}
	return exitFailure
}

const usageText = `
Usage: erl-call (-n NODE | -name NODE | -sname NODE | -address [HOST:]PORT)
                [-c COOKIE] [-a 'MOD [FUN [ARGS]]'] [-e] [-m] [-q] [-s] [-d]
                [-h NAME | -r | -R] [-x SCRIPT] [-timeout SECONDS] [-v]
                [-fetch_stdout] [-no_result_term] [-ssl_dist_optfile FILE]

  -name NODE    the node to call, with a long host name; -n is the same
  -sname NODE   the node to call, with a short host name
  -address [HOST:]PORT
                the node to call by its port, without a port mapper
  -c COOKIE     the cookie; by default the first line of ~/.erlang.cookie
  -a 'MOD [FUN [ARGS]]'
                call MOD:FUN with ARGS, an Erlang list (default: start, []),
                for example -a 'erlang length [[a,b,c]]', and print the result
  -e            evaluate the expressions on the standard input, separated by
                commas and ended with a full stop, and print {ok, Result}
  -m            load the module whose source is on the standard input: the node
                writes it to a file in its working directory, and compiles it
  -q            halt the node; no error if it does not run
  -s            start the node if it does not run; -d writes what it prints to
                ~/.erl_start.out.ALIVE, -x starts SCRIPT in place of erl
  -h NAME       the name of this program's own node (default: c17)
  -r            a random name, of a thousand; -R, a name that the node gives
  -timeout SECONDS
                give up after that time, with exit code 142; what has been
                called goes on
  -fetch_stdout print what the called function prints, too
  -no_result_term
                do not print the result
  -ssl_dist_optfile FILE
                connect over TLS, with the option file of erl -proto_dist
                inet_tls
  -v            say on the standard error what is being done

The port mapper's port is that of ERL_EPMD_PORT, or 4369. Exit codes: 0 for any
result, {badrpc, Reason} included; 1 for failures; 255 if the arguments of -a
are no Erlang terms, or the connection ends before its result.
`
