package epmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/cnode-go/cnode/transport"
)

// DefaultTimeout bounds a request when Client.Timeout is zero; Erlang's own client waits as long.
const DefaultTimeout = 10 * time.Second

// The most that a client reads: well above what a port mapper can send when all its connections are
// in use.
const (
	maxListing    = 8 << 20
	maxPortAnswer = 14 + maxNameBytes + maxExtraBytes
	usualAnswer   = 512 // most are some 20 bytes
)

// Client talks to port mappers. The zero value talks to the one of this machine. A Client needs no
// closing, as each request has a connection of its own. It is safe for concurrent use; its fields
// must not change once it is in use.
//
// Every request waits for the whole answer until ctx ends, Timeout at most. Every error is an
// *Error. It wraps ctx's error, ErrTimeout, or os.ErrDeadlineExceeded under transport.NoWait, since
// an answer takes time; ErrNoPortMapper if nobody listens; ErrNoAnswer or ErrProtocol if the answer
// is missing or wrong; ErrInvalid, before anything is sent, for a name that no port mapper can
// have. The comments of the methods name further errors.
type Client struct {
	// Addr is the host:port of the port mapper. Empty: DefaultAddr(os.Getenv).
	Addr string
	// Timeout bounds each request, connecting included, as the context does. Zero: DefaultTimeout.
	// Negative: only the context bounds it.
	Timeout time.Duration
	// Dial makes the connections; network is "tcp". Nil: net.Dialer, or package transport for brief
	// requests to an IP address.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Resolve asks for the node called name, the part before the "@", and blocks until the answer is
// there, ctx ends or Timeout passes. host is the machine to ask, whose port mapper is expected on
// the port of c.Addr; empty: the one at c.Addr. The errors to decide by are ErrNoPortMapper,
// ErrNotRegistered, and ErrVersion for a node that speaks only other versions than this module. An
// answer about another node or with port 0 is an ErrProtocol.
//
// The name must have fewer than 255 characters for OTP's epmd to answer.
// See erl_dist_protocol, PORT2_REQ; ei_connect does this first.
func (c *Client) Resolve(ctx context.Context, host, name string) (NodeInfo, error) {
	var info NodeInfo
	err := c.request(ctx, host, request{tag: tagPort2Req, name: name}, func(conn net.Conn) (err error) {
		var found bool
		err = readAnswer(conn, maxPortAnswer, func(b []byte) (n int, err error) {
			info, found, n, err = parsePortAnswer(b)
			return n, err
		})
		if err != nil {
			return err
		}
		if !found {
			return ErrNotRegistered
		}
		if info.Name != name {
			return wrong("it is about %.80q", info.Name)
		}
		if _, ok := info.Version(); !ok {
			return fmt.Errorf("%w: the node speaks %d to %d, this one %d to %d", ErrVersion, info.Low, info.High, versionLow, versionHigh)
		}
		return nil
	})
	if err != nil {
		return NodeInfo{}, err
	}
	return info, nil
}

// Names lists the registered nodes, the newest first, and the port mapper's own port. host is as
// for Resolve. An answer of more than 8 MiB is an ErrProtocol. See erl_dist_protocol, NAMES_REQ;
// epmd -names and erl_epmd:names do this.
func (c *Client) Names(ctx context.Context, host string) (port int, names []NamePort, err error) {
	err = c.request(ctx, host, request{tag: tagNamesReq}, func(conn net.Conn) error {
		b, err := readListing(conn)
		if err == nil {
			port, names, err = parseNames(b)
		}
		return err
	})
	return port, names, err
}

// Dump lists everything the port mapper at c.Addr keeps. Port mappers answer it only on their own
// machine; otherwise the error is ErrNoAnswer. See erl_dist_protocol, DUMP_REQ.
func (c *Client) Dump(ctx context.Context) (d Dump, err error) {
	err = c.request(ctx, "", request{tag: tagDumpReq}, func(conn net.Conn) error {
		b, err := readListing(conn)
		if err == nil {
			d, err = parseDump(b)
		}
		return err
	})
	return d, err
}

// Kill ends the port mapper at c.Addr. The error is ErrNotAllowed while names are registered,
// unless the port mapper runs with a relaxed command check, and ErrNoAnswer on another machine. See
// erl_dist_protocol, KILL_REQ; epmd -kill does this.
func (c *Client) Kill(ctx context.Context) error {
	return c.request(ctx, "", request{tag: tagKillReq}, func(conn net.Conn) error {
		word, err := readWord(conn, 2)
		switch {
		case err != nil:
			return err
		case word == "OK":
			return nil
		case word == "NO":
			return fmt.Errorf("%w: names are registered", ErrNotAllowed)
		}
		return wrong("%q", word)
	})
}

// Stop takes the registration of name away from the node that has it. The error is ErrNotRegistered
// for an unknown name, and ErrNotAllowed when the port mapper closes the connection without an
// answer, as it does without a relaxed command check, or on another machine. See erl_dist_protocol,
// STOP_REQ; epmd -stop and ei_unpublish do this.
func (c *Client) Stop(ctx context.Context, name string) error {
	return c.request(ctx, "", request{tag: tagStopReq, name: name}, func(conn net.Conn) error {
		// For an unknown name OTP's epmd sends both words: only the first counts.
		word, err := readWord(conn, 7)
		switch {
		case errors.Is(err, ErrNoAnswer) && word == "":
			return fmt.Errorf("%w: it runs without -relaxed_command_check, or on another machine", ErrNotAllowed)
		case err != nil:
			return err
		case word == "STOPPED":
			return nil
		case word == "NOEXIST":
			return ErrNotRegistered
		}
		return wrong("%q", word)
	})
}

// request makes a connection, sends q and lets answer read. It wraps every error in an *Error.
func (c *Client) request(ctx context.Context, host string, q request, answer func(net.Conn) error) error {
	if q.tag == tagPort2Req || q.tag == tagStopReq {
		if err := checkName(q.name); err != nil {
			return c.wrap(q, "", err)
		}
	}
	conn, err := c.exchange(ctx, host, q, answer)
	if err != nil {
		return err
	}
	_ = conn.Close() // all that was wanted has been read
	return nil
}

// exchange is request, but hands out the connection, without deadline, when answer succeeded.
func (c *Client) exchange(ctx context.Context, host string, q request, answer func(net.Conn) error) (net.Conn, error) {
	addr, err := c.addr(host)
	if err != nil {
		return nil, c.wrap(q, addr, err)
	}
	if transport.IsNoWait(ctx) { // an answer takes time
		return nil, c.wrap(q, addr, os.ErrDeadlineExceeded)
	}
	timeout := c.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	whole := ctx
	if end, ok := ctx.Deadline(); timeout > 0 && (!ok || time.Until(end) > timeout) {
		var cancel context.CancelFunc
		whole, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	conn, err := c.talk(whole, addr, q, answer)
	if err == nil {
		return conn, nil
	}
	if errors.Is(err, over(whole)) {
		if err = over(ctx); err == nil {
			err = fmt.Errorf("%w: %v passed (%w)", ErrTimeout, timeout, os.ErrDeadlineExceeded)
		}
	}
	return nil, c.wrap(q, addr, err)
}

// talk is exchange with a single context and errors that are not wrapped; when ctx ended first, the
// error is that of ctx.
func (c *Client) talk(ctx context.Context, addr string, q request, answer func(net.Conn) error) (net.Conn, error) {
	dial := c.Dial
	switch {
	case dial != nil:
	case q.tag == tagAlive2Req:
		// the connection lasts as long as the registration
		dial = (&net.Dialer{KeepAlive: -1}).DialContext
	default:
		dial = dialBriefly
	}
	conn, err := dial(ctx, "tcp", addr)
	err = transport.PosixError(err)
	switch {
	case err == nil:
	case over(ctx) != nil:
		return nil, over(ctx)
	case errors.Is(err, syscall.ECONNREFUSED) && c.Addr == "":
		return nil, fmt.Errorf("%w, or set ERL_EPMD_PORT to the port it uses (%w)", ErrNoPortMapper, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w (%w)", ErrNoPortMapper, err)
	default:
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	// When ctx ends, the connection is closed, which ends every read and write: it is of no more use.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	_, err = conn.Write(appendRequest(nil, q))
	if err == nil {
		err = answer(conn)
	}
	if !stop() {
		err = ctx.Err() // whatever else went wrong came from the closing
	}
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// over gives the reason why ctx has ended, nil if it has not. A deadline that has passed counts
// even before ctx itself reports it, since package net looks at the deadline and may fail first.
func over(ctx context.Context) error {
	if end, ok := ctx.Deadline(); ok && ctx.Err() == nil && !time.Now().Before(end) {
		return context.DeadlineExceeded
	}
	return ctx.Err()
}

// dialBriefly connects for one request. For an IP address it avoids package net, whose way through
// the scheduler takes as long as the answer.
func dialBriefly(ctx context.Context, network, addr string) (net.Conn, error) {
	at, err := transport.ParseAddr(addr)
	if err != nil { // a name
		return (&net.Dialer{KeepAlive: -1}).DialContext(ctx, network, addr)
	}
	s, err := transport.TCP().Connect(ctx, at)
	if err != nil {
		return nil, err
	}
	return transport.NetConn(s), nil
}

// addr gives the address of the port mapper of host; empty: c.Addr.
func (c *Client) addr(host string) (string, error) {
	addr := c.Addr
	if addr == "" {
		var err error
		if addr, err = DefaultAddr(os.Getenv); err != nil {
			return "", err
		}
	}
	own, port, err := net.SplitHostPort(addr)
	if err != nil {
		return addr, fmt.Errorf("address of the port mapper: %w", err)
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return addr, fmt.Errorf("address of the port mapper: port %q is not in 1..65535", port)
	}
	if host == "" {
		host = own
	}
	return net.JoinHostPort(host, port), nil
}

var ops = map[tag]string{
	tagAlive2Req: "register", tagPort2Req: "resolve", tagNamesReq: "names", tagDumpReq: "dump", tagKillReq: "kill", tagStopReq: "stop",
}

// wrap makes an *Error.
func (c *Client) wrap(q request, addr string, err error) error {
	return &Error{Op: ops[q.tag], Addr: addr, Name: cmp.Or(q.name, q.reg.Name), Err: err}
}

// readAnswer reads until parse, which returns the length of the answer or errShort, has a whole
// answer. It does not wait for the end of the stream; bytes that came together with the answer but
// do not belong to it are an ErrProtocol.
func readAnswer(r io.Reader, limit int, parse func([]byte) (int, error)) error {
	b := make([]byte, 0, min(limit, usualAnswer)+1)
	for {
		if len(b) == cap(b) {
			b = append(make([]byte, 0, limit+1), b...)
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if n > 0 {
			n, perr := parse(b)
			switch {
			case perr == nil && n < len(b):
				return wrong("%d bytes after its end", len(b)-n)
			case !errors.Is(perr, errShort):
				return perr
			}
		}
		if err != nil {
			return ended(err, len(b))
		}
		if len(b) > limit {
			return wrong("more than %d bytes", limit)
		}
	}
}

// readWord reads size bytes of text. On an error it also gives what it has read.
func readWord(r io.Reader, size int) (string, error) {
	b := make([]byte, size)
	n, err := io.ReadFull(r, b)
	if err != nil {
		err = ended(err, n)
	}
	return string(b[:n]), err
}

// readListing reads to the end of the stream.
func readListing(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxListing+1))
	switch {
	case err != nil:
		return nil, ended(err, len(b))
	case len(b) == 0:
		return nil, ended(io.EOF, 0)
	case len(b) > maxListing:
		return nil, wrong("more than %d bytes", maxListing)
	}
	return b, nil
}

// ended turns the end of the stream into ErrNoAnswer, and also a reset, which a port mapper causes
// if it closes without reading the request.
func ended(err error, got int) error {
	switch err = transport.PosixError(err); {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = io.ErrUnexpectedEOF
	case !errors.Is(err, syscall.ECONNRESET):
		return err
	}
	return fmt.Errorf("%w, after %d bytes: %w", ErrNoAnswer, got, err)
}
