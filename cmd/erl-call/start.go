package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// startLimit is how long a node may take to start.
const startLimit = 10 * time.Second

// startNode starts an Erlang node on this machine, and waits until it says that it is up:
// erl_reply, of OTP's kernel, connects to a port of ours and sends the number that it was given.
// The node outlives this program.
func (o *options) startNode(ctx context.Context, name string, errOut io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, startLimit)
	defer cancel()
	_, host, _ := strings.Cut(name, "@")
	if err := checkLocal(ctx, host); err != nil {
		return err
	}
	l, err := net.Listen("tcp", netip.AddrPortFrom(loopback, 0).String())
	if err != nil {
		return err
	}
	defer l.Close()
	number := strconv.Itoa(os.Getpid())
	cmd := o.command(name, l.Addr().(*net.TCPAddr), number)
	log, err := o.startLog(name, cmd)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = log, log, detached()
	o.sayf(errOut, "%s", quoted(cmd.Args))
	if err := cmd.Start(); err != nil {
		return err
	}
	ended, up := make(chan error, 1), make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	go func() { up <- awaitReply(l, number) }()
	select {
	case err = <-up:
		return err
	case <-ended:
		return fmt.Errorf("%s has ended before the node was up: %v (-d keeps what it prints)", o.script, cmd.ProcessState)
	case <-ctx.Done():
		return fmt.Errorf("the node is not up after %v: %w", startLimit, ctx.Err())
	}
}

// checkLocal refuses to start a node for another machine.
func checkLocal(ctx context.Context, host string) error {
	at, err := addressOf(ctx, host)
	if err != nil || at.IsLoopback() {
		return err
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, a := range own {
		if p, ok := a.(*net.IPNet); ok && p.IP.Equal(at.AsSlice()) {
			return nil
		}
	}
	return fmt.Errorf("%s (%v) is another machine: start the node there", host, at)
}

// command is what starts the node.
func (o *options) command(name string, reply *net.TCPAddr, number string) *exec.Cmd {
	kind := "-sname"
	if o.long {
		kind = "-name"
	}
	args := []string{"-noinput", kind, name}
	if o.cookie != "" {
		args = append(args, "-setcookie", o.cookie)
	}
	if o.optFile != "" {
		args = append(args, "-proto_dist", "inet_tls", "-ssl_dist_optfile", o.optFile)
	}
	return exec.Command(o.script, append(args, "-s", "erl_reply", "reply", reply.IP.String(), strconv.Itoa(reply.Port), number)...)
}

// awaitReply waits for the node that was told that number.
func awaitReply(l net.Listener, number string) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		_ = c.SetDeadline(time.Now().Add(startLimit))
		said := make([]byte, len(number)+1)
		n, _ := io.ReadFull(c, said)
		_ = c.Close()
		if string(said[:n]) == number {
			return nil
		}
	}
}

// startLog is where the node's output goes: nowhere, or with -d to the end of a file of the user's.
func (o *options) startLog(name string, cmd *exec.Cmd) (*os.File, error) {
	if !o.debug {
		return os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	alive, _, _ := strings.Cut(name, "@")
	f, err := os.OpenFile(filepath.Join(home, ".erl_start.out."+alive), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintf(f, "\n\n===== Log started ======\n%s\nerl-call: %s\n", time.Now().Format(time.ANSIC), quoted(cmd.Args))
	return f, err
}

// quoted is a command as a shell takes it.
func quoted(args []string) string {
	words := make([]string, len(args))
	for i, a := range args {
		if words[i] = a; strings.ContainsFunc(a, special) || a == "" {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

func special(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_@.:/,=+%", r))
}
