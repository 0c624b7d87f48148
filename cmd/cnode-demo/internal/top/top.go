package top

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/spf13/cobra"

	"github.com/cnode-go/cnode/cmd/internal/cli"
	"github.com/cnode-go/cnode/cmd/internal/config"
)

// A view is what the command line says.
type view struct {
	every  time.Duration
	by     string
	lines  int
	once   bool
	asJSON bool
}

// Command is the command top.
func Command(o *config.Options) *cobra.Command {
	v := &view{}
	var between config.Virtual
	cmd := &cobra.Command{
		Use:   "top NODE",
		Short: "Watch what a node does: memory, run queue, processes",
		Long: `Show the memory, the load and the busiest processes of NODE, a BEAM or a node with nodes/observer (serve --operator), again
and again. Keys: m, q or r sorts by memory, queue or reductions, space asks at once, Esc or Ctrl-C ends. With --once it prints one
picture, with --json as JSON. It asks with erpc:call, and loads nothing into the node.`,
		Example: `  cnode-demo top rabbit@broker
  cnode-demo top x@127.0.0.1 --sort queue --every 5s
  cnode-demo top x@127.0.0.1 --once --json`,
		Args: cli.Args("NODE"),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if err := v.check(cmd.OutOrStdout()); err != nil {
				return err
			}
			target, err := o.CheckTarget(args[0])
			if err != nil {
				return err
			}
			n, _, end, err := o.Dial(cmd.Context(), &between, target, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, end()) }()
			p := &probe{n: n, node: target}
			if v.once {
				return v.print(cmd.Context(), p, cmd.OutOrStdout())
			}
			return v.live(cmd.Context(), p, cmd.InOrStdin(), os.Stdout)
		},
	}
	between.AddTo(cmd.Flags())
	f := cmd.Flags()
	f.DurationVar(&v.every, "every", 2*time.Second, "how often to ask, and how long to wait for the answers")
	f.StringVar(&v.by, "sort", "memory", "what the first processes have most of: `"+strings.Join(keys, "|")+"`")
	f.IntVar(&v.lines, "lines", 20, "how many processes to print (--once); -1 for all")
	f.BoolVar(&v.once, "once", false, "print one picture and end")
	f.BoolVar(&v.asJSON, "json", false, "print it as JSON (--once)")
	return cmd
}

func (v *view) check(out io.Writer) error {
	switch {
	case !slices.Contains(keys, v.by):
		return cli.Usagef("--sort %s: want %s", v.by, strings.Join(keys, ", "))
	case v.every <= 0:
		return cli.Usagef("--every %v: want a time to wait", v.every)
	case v.asJSON && !v.once:
		return cli.Usagef("--json is for --once")
	case !v.once && !isTerminal(os.Stdout):
		return cli.Usagef("the standard output is no terminal: want --once")
	}
	return nil
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// limit is how long one picture may take.
const limit = 10 * time.Second

// print prints one picture.
func (v *view) print(ctx context.Context, p *probe, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	s, err := p.take(ctx)
	if err != nil {
		return err
	}
	s.sort(v.by, v.lines)
	if v.asJSON {
		e := json.NewEncoder(out)
		e.SetEscapeHTML(false) // pids have < and >
		return e.Encode(s)
	}
	_, err = io.WriteString(out, s.text(nil, v.by, -1, 120))
	return err
}

// live shows pictures until a key, or ctx, ends it.
func (v *view) live(ctx context.Context, p *probe, in io.Reader, out io.Writer, more ...tea.ProgramOption) error {
	m := &model{ctx: ctx, p: p, v: v, width: 80, height: 24}
	options := append(more, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out), tea.WithoutSignalHandler())
	_, err := tea.NewProgram(m, options...).Run()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// A model is what the screen shows.
type model struct {
	ctx           context.Context
	p             *probe
	v             *view
	width, height int
	now, before   *sample
	err           error
	asks          bool
	answers       due
}

type (
	taken struct { // an answer of the node
		s   *sample
		err error
	}
	due int // it is time to ask again, after so many answers: an older one has been asked for by hand
)

// ask asks the node, unless it is being asked.
func (m *model) ask() tea.Cmd {
	if m.asks {
		return nil
	}
	m.asks = true
	return func() tea.Msg {
		ctx, cancel := context.WithTimeout(m.ctx, max(m.v.every, limit))
		defer cancel()
		s, err := m.p.take(ctx)
		return taken{s, err}
	}
}

// Init asks for the first time.
func (m *model) Init() tea.Cmd { return m.ask() }

// Update takes what has happened.
func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case taken:
		m.asks = false
		if m.err = msg.err; msg.err == nil {
			m.before, m.now = m.now, msg.s
			m.now.sort(m.v.by, -1)
		}
		m.answers++
		next := m.answers
		return m, tea.Tick(m.v.every, func(time.Time) tea.Msg { return next })
	case due:
		if msg == m.answers {
			return m, m.ask()
		}
	case tea.KeyPressMsg:
		switch msg.String() {
		case "ctrl+c", "esc":
			return m, tea.Quit
		case "space":
			return m, m.ask()
		}
		for _, by := range keys {
			if msg.String() == by[:1] {
				m.v.by = by
				if m.now != nil {
					m.now.sort(by, -1)
				}
			}
		}
	}
	return m, nil
}

// View is the screen.
func (m *model) View() tea.View {
	text := "asking " + m.p.node + " …\n"
	if m.now != nil {
		text = m.now.text(m.before, m.v.by, m.height-1, m.width)
	}
	if m.err != nil {
		text += clip("no answer: "+m.err.Error(), m.width)
	}
	view := tea.NewView(text)
	view.AltScreen = true
	return view
}
