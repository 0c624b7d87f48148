// Command cnode-gate lets nodes of lower trust reach Erlang nodes, by rules: see package gate and
// docs/operate/gate.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/cnode-go/cnode/contrib/gate"
	"github.com/cnode-go/cnode/internal/permit"
	"github.com/cnode-go/cnode/nodes/debugz"
	"github.com/cnode-go/cnode/transport/handoff"
	"github.com/cnode-go/cnode/transport/handoff/service"
	"github.com/cnode-go/cnode/transport/virtual"
)

func main() {
	if err := root().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "cnode-gate:", err)
		os.Exit(1)
	}
}

// flags are those of run and learn.
type flags struct {
	http, record string
	debug        bool
}

func root() *cobra.Command {
	c := &cobra.Command{
		Use: "cnode-gate", Short: "Let nodes of lower trust reach Erlang nodes, by rules",
		SilenceUsage: true, SilenceErrors: true,
	}
	var f flags
	run := &cobra.Command{
		Use: "run FILE", Short: "Open the gate; SIGHUP reads FILE anew, and upgrades the program, while all connections stay",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return f.run(args[0], nil) },
	}
	learn := &cobra.Command{
		Use: "learn FILE", Short: "Let everything pass, and print at the end the rules that the traffic would need",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			l := &learned{}
			defer l.print(c.OutOrStdout())
			return f.run(args[0], l)
		},
	}
	for _, c := range []*cobra.Command{run, learn} {
		c.Flags().StringVar(&f.http, "http", "", "serve a page of the connections, and metrics, at this host:port")
		c.Flags().StringVar(&f.record, "record", "", "record all connections into this file, for Wireshark; TLS in plain")
		c.Flags().BoolVar(&f.debug, "debug", false, "log every refusal")
	}
	check := &cobra.Command{
		Use: "check FILE", Short: "Tell what is wrong with a configuration", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := gate.ReadConfig(args[0])
			if err == nil {
				_, err = gate.New(cfg, nil)
			}
			if err == nil {
				fmt.Fprintf(c.OutOrStdout(), "%s: %d rules, %d nodes inside, %d outside\n", args[0], len(cfg.Rules),
					len(cfg.Inside.Nodes), len(cfg.Outside.Nodes))
			}
			return err
		},
	}
	explain := &cobra.Command{
		Use: "explain FILE PEER OPERATION TARGET", Short: "Tell which rule decides, as explain gate.config ci@host call shop:quote/1",
		Args: cobra.ExactArgs(4),
		RunE: func(c *cobra.Command, args []string) error {
			return explain(c.OutOrStdout(), args[0], args[1], args[2], args[3])
		},
	}
	c.AddCommand(run, learn, check, explain)
	return c
}

func explain(w io.Writer, file, peer, operation, target string) error {
	cfg, err := gate.ReadConfig(file)
	if err != nil {
		return err
	}
	op, err := permit.ParseOp(operation)
	if err != nil {
		return err
	}
	if names := strings.Split(op.String(), "|"); len(names) > 1 { // any
		for _, name := range names {
			isFunction := name == gate.MayCall.String() || name == gate.MaySpawn.String()
			if isFunction == strings.Contains(target, ":") {
				if err := explain(w, file, peer, name, target); err != nil {
					return err
				}
			}
		}
		return nil
	}
	r := gate.Request{Peer: peer, Op: op, Target: target}
	if op&(gate.MayCall|gate.MaySpawn) != 0 {
		name, arity, _ := strings.Cut(target, "/")
		module, name, ok := strings.Cut(name, ":")
		if r.Arity, err = strconv.Atoi(arity); !ok || err != nil {
			return fmt.Errorf("target %q: want module:function/arity", target)
		}
		r.Module, r.Name = module, name
	}
	d, err := cfg.Explain(r)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, d)
	if d.Rule >= 0 {
		fmt.Fprintf(w, "%s\n", gate.AppendRule(nil, cfg.Rules[d.Rule]))
	}
	return nil
}

// run opens the gate, or goes on with that of the process that has started this one, until it is
// told to end, or another process goes on.
func (f *flags) run(file string, l *learned) (err error) {
	coming, err := service.Coming()
	if err != nil {
		return err
	}
	ends, hangUp := make(chan os.Signal, 1), make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, os.Interrupt)
	signal.Notify(hangUp, syscall.SIGHUP)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	level := slog.LevelInfo
	if f.debug {
		level = slog.LevelDebug
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	opts := &gate.Options{Logger: log}
	if l != nil {
		opts.Learn, opts.OnDecision = true, l.hear
	}
	if f.record != "" {
		w, failed := newFile(f.record)
		if failed != nil {
			return refuse(ctx, coming, failed)
		}
		r := newRecord(w, log)
		opts.Capture = r.capture
		defer func() { err = errors.Join(err, r.close()) }()
	}
	cfg, err := gate.ReadConfig(file)
	if err != nil {
		return refuse(ctx, coming, err)
	}
	var g *gate.Gate
	if coming != nil {
		g, err = gate.Take(ctx, coming, cfg, opts)
	} else if g, err = gate.New(cfg, opts); err == nil {
		err = g.Start(ctx)
	}
	if err != nil {
		return err
	}
	defer service.NotifyWatchdog()()
	if err := service.NotifyReady(); err != nil {
		log.Warn("systemd does not hear that the gate is ready", "error", err)
	}
	return f.serve(ctx, g, log, coming != nil, ends, hangUp)
}

// refuse tells the process that has started this one, if any has, why this one cannot go on.
func refuse(ctx context.Context, coming *handoff.Channel, why error) error {
	if coming == nil {
		return why
	}
	return gate.Refuse(ctx, coming, why)
}

// serve serves until the gate is to end, or another process goes on with it.
func (f *flags) serve(ctx context.Context, g *gate.Gate, log *slog.Logger, moved bool, ends, hangUp chan os.Signal) error {
	var page *http.Server
	if f.http != "" {
		var err error
		page, err = serve(f.http, g, log)
		switch {
		case err == nil:
			defer page.Close()
		case !moved:
			return errors.Join(err, g.Close())
		default: // connections count for more
			log.Error("no page", "error", err)
		}
	}
	for {
		select {
		case <-ends:
			return g.Close()
		case <-hangUp:
			if page != nil { // the next process listens there
				_ = page.Close()
			}
			moved, err := follow(ctx, g, ends, hangUp)
			if moved {
				return err
			}
			log.Error("goes on as before", "error", err)
			if f.http != "" {
				if page, err = serve(f.http, g, log); err != nil {
					log.Error("no page", "error", err)
				}
			}
		}
	}
}

// A record is the file of --record.
type record struct {
	file    *os.File
	capture *virtual.Capture
	log     *slog.Logger
}

func newRecord(w *os.File, log *slog.Logger) *record {
	r := &record{file: w, log: log}
	log.Info("recording", "file", w.Name())
	r.capture = virtual.NewCapture(r)
	return r
}

// Write is not called any more when it has failed.
func (r *record) Write(b []byte) (int, error) {
	n, err := r.file.Write(b)
	if err != nil {
		r.log.Error("the record ends here", "error", err)
	}
	return n, err
}

func (r *record) close() error { return errors.Join(r.capture.Close(), r.file.Close()) }

// newFile makes a file of a name that is free: gate.pcap, gate-2.pcap. What was recorded before
// stays, as a process does until its connections are another one's.
func newFile(path string) (*os.File, error) {
	ext := filepath.Ext(path)
	name := path
	for i := 2; ; i++ {
		w, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o600)
		if !errors.Is(err, fs.ErrExist) {
			return w, err
		}
		name = fmt.Sprintf("%s-%d%s", strings.TrimSuffix(path, ext), i, ext)
	}
}

// follow starts the program's file as it is now, with the configuration as it is now, and gives it
// everything.
func follow(ctx context.Context, g *gate.Gate, ends, hangUp <-chan os.Signal) (moved bool, err error) {
	next := &service.Successor{Cmd: exec.Command(service.OwnFile(), os.Args[1:]...)}
	next.Cmd.Stdout, next.Cmd.Stderr = os.Stdout, os.Stderr
	h, err := next.Give(ctx, g.Give)
	if !h.Moved {
		return false, err
	}
	err = errors.Join(err, next.Follow(ctx))
	for _, told := range []<-chan os.Signal{hangUp, ends} {
		select {
		case s := <-told: // it was meant for whoever is the gate
			err = errors.Join(err, next.Cmd.Process.Signal(s))
		default:
		}
	}
	return true, err
}

// serve shows connections and counts; at a loopback address to users of this machine only.
func serve(addr string, g *gate.Gate, log *slog.Logger) (*http.Server, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	h := gate.Handler(g)
	if at, ok := l.Addr().(*net.TCPAddr); ok && at.IP.IsLoopback() {
		h = debugz.OnlyLocal(h)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.Serve(l) }()
	log.Info("page", "address", l.Addr().String())
	return s, nil
}

// learned are the requests that have been seen, by the rule that each would need.
type learned struct {
	mu     sync.Mutex
	rules  map[gate.Rule]int
	always map[string]int // what no rule allows
}

func (l *learned) hear(d gate.Decision) {
	if d.Allowed || d.Op == 0 {
		return
	}
	op := d.Op
	if op == gate.MaySend|gate.MayRequest { // a monitor, which comes with what is asked
		return
	}
	target := d.Target
	if strings.HasPrefix(target, "#Pid<") {
		target = gate.Talked
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rules == nil {
		l.rules, l.always = map[gate.Rule]int{}, map[string]int{}
	}
	rule := gate.Rule{Peer: d.Peer, Op: op, Target: target, Allow: true}
	shown, why := plainly(target), d.Reason
	switch {
	case strings.HasPrefix(target, "#Ref<"):
		shown, why = "an alias", `passes by a rule of the target "*" only`
	case d.Always:
	case !isAbout(rule, d.Request):
		why = "no rule can name it"
	default:
		l.rules[rule]++
		return
	}
	l.always[fmt.Sprintf("%s %s %s: %s", plainly(d.Peer), op, shown, why)]++
}

// isAbout tells whether a rule is about this request alone, and about nothing that a peer made look
// like the pattern or the words of rules.
func isAbout(rule gate.Rule, r gate.Request) bool {
	t, err := permit.Compile([]permit.Rule{permit.Rule(rule)})
	if err != nil || rule.Target == "" || strings.Contains(rule.Peer+rule.Target, "*") || strings.HasPrefix(r.Target, gate.Talked) {
		return false
	}
	if r.Op&(gate.MayCall|gate.MaySpawn) == 0 {
		return true
	}
	i, _ := t.FindFunction(r.Peer, r.Op, r.Module, r.Name, r.Arity)
	return i == 0
}

// plainly quotes what a peer has written, if it could be taken for more than a name.
func plainly(text string) string {
	if quoted := strconv.QuoteToASCII(text); len(quoted) != len(text)+2 || text == "" || strings.Contains(text, " ") {
		return quoted
	}
	return text
}

// print writes the rules, the most used first.
func (l *learned) print(w io.Writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var rules []gate.Rule
	for r := range l.rules {
		rules = append(rules, r)
	}
	slices.SortFunc(rules, func(a, b gate.Rule) int {
		if n := l.rules[b] - l.rules[a]; n != 0 {
			return n
		}
		return strings.Compare(a.Peer+a.Target, b.Peer+b.Target)
	})
	fmt.Fprintln(w, "{rules, [")
	for i, r := range rules {
		comma := ","
		if i == len(rules)-1 {
			comma = ""
		}
		fmt.Fprintf(w, "  %s%s  %% %d times\n", gate.AppendRule(nil, r), comma, l.rules[r])
	}
	fmt.Fprintln(w, "]}")
	if len(l.always) > 0 {
		fmt.Fprintln(w, "%% No rule that names peer and target lets these pass:")
	}
	for _, what := range slices.Sorted(maps.Keys(l.always)) {
		fmt.Fprintf(w, "%%%%   %s, %d times\n", what, l.always[what])
	}
}
