package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"github.com/cnode-go/cnode/contrib/front"
	"github.com/cnode-go/cnode/transport/handoff/service"
)

// run serves until ctx ends, or another process has taken over.
func (f *flags) run(ctx context.Context, out, errOut io.Writer) (err error) {
	log, err := f.logger(errOut)
	if err != nil {
		return err
	}
	o, err := f.options(log)
	if err != nil {
		return err
	}
	var config *tls.Config
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return err
		}
		config = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // sessions depend on this process, whoever reads what it prints
	asked := make(chan os.Signal, 1)
	if len(upgradeSignals) > 0 {
		signal.Notify(asked, upgradeSignals...)
		defer signal.Stop(asked)
	}
	program := service.OwnFile()
	k, heir, err := begin(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	trouble := make(chan error, len(f.listen)+1)
	addrs, err := f.serve(k, config, trouble)
	if err != nil {
		return err
	}
	page, err := f.page(ctx, k, heir, log)
	if err != nil {
		return err
	}
	defer page.close()
	fmt.Fprintf(out, "ready front %s\n", strings.Join(addrs, " "))
	if err := service.NotifyReady(); err != nil {
		fmt.Fprintf(errOut, "cnode-front: systemd was not told that the front is ready (NOTIFY_SOCKET): %v\n", err)
	}
	for {
		select {
		case <-ctx.Done():
			limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.drain)
			defer cancel()
			if err := k.Shutdown(limit); errors.Is(err, context.DeadlineExceeded) {
				fmt.Fprintf(errOut, "cnode-front: cut off what was still running after %v\n", f.drain)
				return nil
			} else {
				return err
			}
		case err := <-trouble:
			return err
		case <-asked:
			next := &service.Successor{Cmd: exec.Command(program, os.Args[1:]...)}
			next.Cmd.Stdin, next.Cmd.Stdout, next.Cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
			handed, err := next.Give(ctx, k.Give)
			if err != nil {
				fmt.Fprintf(errOut, "cnode-front: not upgraded: %v\n", err)
			}
			if !handed.Moved {
				continue
			}
			page.close()
			fmt.Fprintf(out, "upgraded front %d %d\n", os.Getpid(), next.Cmd.Process.Pid)
			left := make(chan error, 1)
			go func() { left <- f.shutdown(k) }()
			followed, stop := context.WithCancel(ctx)
			defer stop()
			if err := next.Follow(followed); err != nil {
				fmt.Fprintf(errOut, "cnode-front: %v\n", err)
			}
			select {
			case err := <-left:
				return err
			case <-ctx.Done():
				return nil
			}
		}
	}
}

// shutdown waits for the sessions with TLS that have stayed behind.
func (f *flags) shutdown(k *front.Keeper) error {
	ctx := context.Background()
	if f.left > 0 {
		limited, cancel := context.WithTimeout(ctx, f.left)
		defer cancel()
		ctx = limited
	}
	if err := k.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// begin makes the keeper, or takes it over from the process that has started this one.
func begin(ctx context.Context, o *front.Options) (k *front.Keeper, heir bool, err error) {
	ch, err := service.Coming()
	if err != nil {
		return nil, false, err
	}
	if ch == nil {
		k, err = front.New(o)
		return k, false, err
	}
	defer ch.Close()
	k, err = front.Take(ctx, ch, o)
	if k != nil { // whatever the other process has to say
		err = nil
	}
	return k, true, err
}

// serve listens for clients and workers, and gives the addresses.
func (f *flags) serve(k *front.Keeper, config *tls.Config, trouble chan<- error) (addrs []string, err error) {
	for _, address := range f.listen {
		network, at, ends := split(address)
		l, err := k.Listen(context.Background(), network, at)
		if err != nil {
			return nil, err
		}
		o := &front.ServeOptions{Proxy: f.proxy && network != "unix"}
		if ends {
			o.TLS, o.Linger = config, f.linger
		}
		addrs = append(addrs, l.Addr().String())
		go func() {
			if err := k.Serve(context.Background(), l, o); !errors.Is(err, net.ErrClosed) {
				trouble <- err
			}
		}()
	}
	return addrs, k.Workers(context.Background(), f.workers)
}
