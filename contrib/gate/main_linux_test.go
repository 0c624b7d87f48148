package gate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"github.com/cnode-go/cnode/contrib/gate"
	"github.com/cnode-go/cnode/internal/handoffpoint"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/transport/handoff/service"
)

// The environment of a process that is a gate: its Config as JSON, and the point of a hand-off at
// which the process kills itself.
const (
	configVariable = "CNODE_TEST_GATE_CONFIG"
	deathVariable  = "CNODE_TEST_GATE_DIES"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(configVariable); text != "" {
		if err := beGate(text); err != nil {
			fmt.Fprintln(os.Stderr, "gate:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(leak.Run(m))
}

// beGate is what cnode-gate does, with a point at which it dies. It says "ready" when it is open,
// and "goes on" when it has not moved.
func beGate(text string) error {
	var cfg gate.Config
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	hangUp := make(chan os.Signal, 1)
	signal.Notify(hangUp, syscall.SIGHUP)
	ctx := handoffpoint.With(context.Background(), func(p handoffpoint.Point) {
		if string(p) == os.Getenv(deathVariable) {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	})
	opts := (&gate.Options{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))}).Patient()
	coming, err := service.Coming()
	if err != nil {
		return err
	}
	var g *gate.Gate
	if coming != nil {
		g, err = gate.Take(ctx, coming, &cfg, opts)
	} else if g, err = gate.New(&cfg, opts); err == nil {
		err = g.Start(ctx)
	}
	if err != nil {
		return err
	}
	fmt.Println("ready", os.Getpid())
	for range hangUp {
		next := &service.Successor{Cmd: exec.Command(os.Args[0])}
		next.Cmd.Stdout, next.Cmd.Stderr = os.Stdout, os.Stderr
		h, err := next.Give(ctx, g.Give)
		if h.Moved {
			return next.Follow(ctx)
		}
		fmt.Println("goes on", err)
	}
	return nil
}
