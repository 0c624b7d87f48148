// Package web has servers of net/http belong to a service.Service.
package web

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"

	"github.com/cnode-go/cnode/transport/handoff/service"
)

// Serve has srv serve a listener of s.Listen, and returns at once. When another process has the
// listener, connections between two requests move to it, and those of requests in progress follow
// when these are answered, within Service.DrainTimeout; with HTTP/2 without TLS (Server.Protocols)
// they drain instead: see ServeTLS. When the service ends, srv is shut down. s.Run returns the
// error of srv.Serve. Serve changes srv.ConnState, and calls what was there.
func Serve(s *service.Service, srv *http.Server, l net.Listener) {
	moves := srv.Protocols == nil || !srv.Protocols.UnencryptedHTTP2()
	if moves {
		before := srv.ConnState
		srv.ConnState = func(c net.Conn, state http.ConnState) {
			if m, ok := c.(interface{ SetIdle(bool) }); ok && state == http.StateIdle {
				m.SetIdle(true)
			}
			if before != nil {
				before(c, state)
			}
		}
	}
	serve(s, srv, l, moves, srv.Serve)
}

// ServeTLS is Serve with TLS: of Server.TLSConfig, or of the files if they are named. Connections
// are not moved. When another process has the listener, each is closed in good order after the
// next answer, with HTTP/2 by GOAWAY; then srv is shut down, which closes the idle ones. ServeTLS
// changes srv.Handler, and calls what was there.
func ServeTLS(s *service.Service, srv *http.Server, l net.Listener, certFile, keyFile string) {
	if srv.TLSConfig == nil {
		srv.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	serve(s, srv, l, false, func(l net.Listener) error { return srv.ServeTLS(l, certFile, keyFile) })
}

func serve(s *service.Service, srv *http.Server, l net.Listener, moves bool, serve func(net.Listener) error) {
	if !moves {
		handler := cmp.Or[http.Handler](srv.Handler, http.DefaultServeMux)
		srv.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if s.Moves() {
				w.Header().Set("Connection", "close")
			}
			handler.ServeHTTP(w, r)
		})
	}
	s.OnEnd(func(ctx context.Context) error {
		if moves && s.Moves() {
			return nil
		}
		return srv.Shutdown(ctx)
	})
	go func() {
		if err := serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			s.Fail(err)
		}
	}()
}
