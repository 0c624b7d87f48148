package cnodews

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/coder/websocket"

	"github.com/cnode-go/cnode/transport"
)

// A StatusError is an answer that is no WebSocket. errors.Is takes it for syscall.EACCES (401 and
// 403) or syscall.ECONNREFUSED (404, 502, 503, 504).
type StatusError struct {
	URL  string // as URL.String shows it
	Code int
	Text string // the first line of the answer
}

// Error says what was answered.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s answers %d %s", e.URL, e.Code, http.StatusText(e.Code))
	if e.Text != "" {
		text += ": " + e.Text
	}
	return text
}

// Is compares the status with an errno.
func (e *StatusError) Is(target error) bool {
	switch e.Code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return target == syscall.EACCES
	case http.StatusNotFound, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return target == syscall.ECONNREFUSED
	}
	return false
}

// ErrSubprotocol is wrapped when the other end does not carry bytes.
var ErrSubprotocol = errors.New("the other end does not know the subprotocol " + Subprotocol +
	"; for a BEAM with web_socket_dist set Options.Packets")

func (t *Transport) connect(s *socket, addr transport.Addr, tmo time.Duration) error {
	to, ok := plain(addr).(URL)
	if !ok {
		return syscall.EAFNOSUPPORT
	}
	if err := to.check(); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if tmo != transport.Infinite {
		var over context.CancelFunc
		ctx, over = context.WithTimeout(ctx, max(tmo, time.Millisecond))
		defer over()
	}
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-s.out.kick:
			cancel()
		case <-done:
		}
	}()
	ws, err := t.dial(ctx, s, to)
	switch {
	case err != nil && ctx.Err() != nil:
		return os.ErrDeadlineExceeded
	case err != nil:
		return transport.PosixError(err)
	}
	t.begin(s, ws)
	return nil
}

func (t *Transport) dial(ctx context.Context, s *socket, to URL) (*websocket.Conn, error) {
	o := &websocket.DialOptions{HTTPClient: t.o.Client, CompressionMode: websocket.CompressionDisabled}
	if !t.o.Packets {
		o.Subprotocols = []string{Subprotocol}
	}
	if t.o.Header != nil {
		var err error
		if o.HTTPHeader, err = t.o.Header(ctx, string(to)); err != nil {
			return nil, err
		}
		o.HTTPHeader = o.HTTPHeader.Clone() // the library adds to it
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) {
		s.below, s.local = c.Conn, transport.FromNetAddr(c.Conn.LocalAddr())
	}})
	ws, answer, err := websocket.Dial(ctx, string(to), o)
	switch {
	case err == nil && !t.o.Packets && !carriesBytes(ws):
		_ = ws.CloseNow()
		return nil, fmt.Errorf("%v: %w", to, ErrSubprotocol)
	case err != nil && answer != nil && answer.StatusCode != http.StatusSwitchingProtocols:
		body, _ := io.ReadAll(io.LimitReader(answer.Body, 1024)) // which the library has read
		line, _, _ := strings.Cut(strings.TrimSpace(string(body)), "\n")
		return nil, &StatusError{to.String(), answer.StatusCode, to.hide(line)}
	case err != nil:
		return nil, to.hush(err)
	}
	return ws, nil
}
