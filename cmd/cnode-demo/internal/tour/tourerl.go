package tour

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/cnode-go/cnode/cmd/cnode-demo/internal/ask"
	"github.com/cnode-go/cnode/ei"
)

// erlName is the name of the Erlang node that visits.
const erlName = "erlang@127.0.0.1"

// erlScript is what the Erlang node does: it tells the mailbox "visitor" of bob what it found, and
// which of its processes to talk to. It ends with bob, at the latest.
const erlScript = `
Bob = 'bob@127.0.0.1',
Ping = net_adm:ping(Bob),
monitor_node(Bob, true),
Sum = rpc:call(Bob, math, sum, [20, 22]),
Visitor = spawn(fun() -> receive goodbye -> exit(gone_home) end end),
{visitor, Bob} ! {visit, Visitor, Ping, Sum},
receive {nodedown, _} -> ok after 20000 -> ok end,
halt(0).`

// erlang brings a real Erlang node in, if Erlang is installed. If that node fails to start, or is
// too slow, the tour goes on without it.
func (t *tour) erlang(ctx context.Context) error {
	erl, err := exec.LookPath("erl")
	if err != nil {
		t.step("There is no erl on the PATH; where there is, the tour brings a real Erlang node in here.")
		return nil
	}
	limit, cancel := context.WithTimeout(ctx, t.erlTime)
	defer cancel()
	if err := t.visit(limit, erl); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if limit.Err() != nil {
			err = fmt.Errorf("it took more than %v", t.erlTime)
		}
		t.step("%s is on the PATH, but no Erlang node came of it: %v. The tour goes on without.", erl, err)
	}
	return nil
}

// visit starts erl, and lets the two sides talk.
func (t *tour) visit(ctx context.Context, erl string) error {
	began := time.Now()
	visitor, err := t.bob.NewMailbox(nil)
	if err != nil {
		return err
	}
	defer visitor.Close()
	if err := t.bob.Register(ctx, "visitor", visitor); err != nil {
		return err
	}
	stop, ended, err := t.startErl(ctx, erl)
	if err != nil {
		return err
	}
	defer stop()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-ended:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	hello, err := receiveTerm(ctx, visitor)
	if err == nil {
		err = t.talk(ctx, hello, time.Since(began))
	}
	if err != nil && context.Cause(ctx) != nil {
		return context.Cause(ctx)
	}
	return err
}

// talk goes on from what the Erlang node has said: {visit, Pid, Ping, Sum}.
func (t *tour) talk(ctx context.Context, visit ei.Term, took time.Duration) error {
	pid, ok := element(visit, 2).(ei.Pid)
	if !ok || element(visit, 4) == nil {
		return unexpected(visit)
	}
	if err := ask.IsAuth(ctx, t.alice, erlName); err != nil {
		return err
	}
	release, err := t.alice.RPC(ctx, erlName, "erlang", "system_info", ei.Atom("otp_release"))
	if err != nil {
		return err
	}
	me, err := t.alice.NewMailbox(nil)
	if err != nil {
		return err
	}
	defer me.Close()
	if _, err := me.Monitor(ctx, pid); err != nil {
		return err
	}
	if err := me.Send(ctx, pid, ei.Atom("goodbye")); err != nil {
		return err
	}
	down, err := me.Receive(ctx)
	if err != nil {
		return err
	}
	t.step("A real Erlang node joined, %v after it was started. It pinged bob, called his Go function, sent him a message:",
		took.Round(10*time.Millisecond))
	t.result("net_adm:ping('"+t.bob.Name()+"')", element(visit, 3))
	t.result("rpc:call('"+t.bob.Name()+"', math, sum, [20,22])", element(visit, 4))
	t.say("    alice pinged it too, asked for its release, monitored one of its processes, and told that one to end:")
	t.result("rpc:call('"+erlName+"', erlang, system_info, [otp_release])", release)
	t.result("monitor(process, Pid), Pid ! goodbye", fmt.Sprintf("{'DOWN',Ref,process,Pid,%v}", down.Reason))
	return nil
}

// startErl runs an Erlang node with a home directory of its own, which meets only the tour's nodes.
// stop ends it; ended reports that it ended by itself, and how.
func (t *tour) startErl(ctx context.Context, erl string) (stop func(), ended <-chan error, err error) {
	home, err := os.MkdirTemp("", "cnode-tour-")
	if err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(filepath.Join(home, ".erlang.cookie"), []byte(t.cookie), 0o400); err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(home))
	}
	_, port, err := net.SplitHostPort(t.mapper)
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(home))
	}
	ctx, cancel := context.WithCancel(ctx)
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, erl, "-noinput", "-name", erlName, "-start_epmd", "false",
		"-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-eval", erlScript)
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "ERL_EPMD_PORT=" + port, "ERL_CRASH_DUMP_SECONDS=0"}
	cmd.Dir = home
	cmd.Stdout, cmd.Stderr = &output, &output
	cmd.WaitDelay = time.Second // for a child of erl that holds the output open
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, nil, errors.Join(err, os.RemoveAll(home))
	}
	over := make(chan error, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		err := cmd.Wait()
		first, _, _ := strings.Cut(strings.TrimSpace(output.String()), "\n")
		over <- fmt.Errorf("it ended (%s): %q", endState(err), first)
	}()
	return func() {
		cancel()
		<-done
		_ = os.RemoveAll(home) // in the temporary folder, so that little is lost if it cannot be
	}, over, nil
}

func endState(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}
