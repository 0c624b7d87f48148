package upgrade_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/director"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/health"
	"github.com/cnode-go/cnode/nodes/upgrade"
)

const (
	// role is the environment variable that makes this program a service of the test's.
	role = "CNODE_TEST_COUNTER"
	// stepsVariable has the address of a director of the test's.
	stepsVariable = "CNODE_TEST_STEPS"
	// hangUp makes this program kill(1), with a process: "hangup PID".
	hangUp = "hangup"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == hangUp {
		hangsUp(os.Args[2])
		return
	}
	if name := os.Getenv(role); name != "" {
		counter(name)
		return
	}
	os.Exit(leak.Run(m))
}

func hangsUp(process string) {
	reached := func(step string) { director.Reached(os.Getenv(stepsVariable), step) }
	reached("reload: begins")
	pid, err := strconv.Atoi(process)
	if err == nil {
		p, found := os.FindProcess(pid)
		err = errors.Join(found, p.Signal(syscall.SIGHUP))
	}
	reached("reload: has sent the signal")
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

// child starts another service, whose end is not this one's affair.
func child(name string) error {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), role+"="+name)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err == nil && !strings.HasPrefix(line, "ready ") {
		err = errors.New(line)
	}
	return err
}

// probed answers probes at an address of the test's.
func probed(u *upgrade.Upgrader, n *nodes.Node) error {
	network, addr, ok := strings.Cut(os.Getenv(role+"_PROBE"), ":")
	if !ok {
		return nil
	}
	l, err := u.Listen(network, addr)
	if err == nil {
		go func() {
			fmt.Println("failed:", http.Serve(l, health.Handler(n)))
			os.Exit(1)
		}()
	}
	return err
}

// counter is a service: a node with a process that counts.
func counter(name string) {
	total := 0
	u := &upgrade.Upgrader{Config: nodes.Config{
		Name: name, Cookie: "secret", Resolver: &nodes.PortMapper{Embed: true}, Logger: slog.Default(),
		Setup: func(n *nodes.Node) error {
			if blob, ok := n.Inherited(); ok {
				fmt.Sscan(string(blob), &total)
			}
			n.Expose("os", "getpid", nodes.FuncOf(os.Getpid))
			n.Expose("os", "child", nodes.FuncOf(child))
			_, err := n.Serve("counter", nodes.Server{On: map[string]nodes.Func{
				"add":  nodes.FuncOf(func(k int) int { total += k; return total }),
				"slow": func(context.Context, []ei.Term) (any, error) { select {} },
			}}, nil)
			return err
		},
		Handover: func(context.Context) ([]byte, error) { return fmt.Append(nil, total), nil },
	}}
	u.Control, u.TakeOver = os.Getenv(role+"_CONTROL"), os.Getenv(role+"_TAKE") != ""
	u.InPlace = os.Getenv(role+"_IN_PLACE") != ""
	if why := os.Getenv(role + "_BUSY"); why != "" {
		u.Allow = func() error { return errors.New(why) }
	}
	if program := os.Getenv(role + "_NEXT"); program != "" {
		u.Command = []string{program}
	}
	if addr := os.Getenv(stepsVariable); addr != "" {
		u.Reached = func(step string) { director.Reached(addr, step) }
	}
	ctx := context.Background()
	n, err := u.Start(ctx)
	if err == nil {
		err = probed(u, n)
	}
	if err == nil {
		n.Expose("upgrader", "upgrade", nodes.FuncOf(func() error { go u.Upgrade(ctx); return nil }))
		fmt.Println("ready", n.Name(), n.Listeners()[0].Addr())
		err = u.Run(ctx)
	}
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	fmt.Println("left", os.Getpid())
}
