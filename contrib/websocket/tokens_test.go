package cnodews_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/websocket"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/debugz"
)

// secret makes of a URL one with tokens in it, all of which have the word "token".
func secret(u cnodews.URL) cnodews.URL {
	return cnodews.URL(strings.Replace(string(u), "://", "://token-user:token-password@", 1) + `?key=token-query"more-token`)
}

// A buffer is one for several goroutines.
type buffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

// Users, passwords and queries of URLs are in no text.
func TestTokensAreHidden(t *testing.T) {
	at := secret("wss://example.org/erlang")
	require.Equal(t, "wss://xxxxx@example.org/erlang?xxxxx", at.String())
	require.Equal(t, "ws://example.org:80/a%2Fb", cnodews.URL("ws://example.org:80/a%2Fb").String())
	for _, text := range []string{
		fmt.Sprint(at), fmt.Sprintf("%+v %q %s", nodes.Endpoint{Addr: at}, at, at),
		func() string {
			var b bytes.Buffer
			slog.New(slog.NewJSONHandler(&b, nil)).Info("x", "url", at)
			slog.New(slog.NewTextHandler(&b, nil)).Info("x", "url", at)
			return b.String()
		}(),
	} {
		require.NotContains(t, text, "token")
		require.Contains(t, text, "example.org")
	}
}

// Whatever a connection fails by, its error has no token.
func TestErrorsHaveNoTokens(t *testing.T) {
	s := plain(t)
	s.mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no "+r.URL.String(), http.StatusNotFound) })
	s.mux.HandleFunc("/on", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://token@127.0.0.1:1/?token", http.StatusFound)
	})
	s.mux.HandleFunc("/plain", func(http.ResponseWriter, *http.Request) {})
	here := "ws" + strings.TrimPrefix(s.URL, "http")
	for name, tt := range map[string]struct {
		at   cnodews.URL
		want error
	}{
		"nobody listens": {cnodews.URL("ws://" + port.Vacant(t)), syscall.ECONNREFUSED},
		"an answer":      {cnodews.URL(here + "/echo"), syscall.ECONNREFUSED},
		"a redirect":     {cnodews.URL(here + "/on"), syscall.ECONNREFUSED},
		"no WebSocket":   {cnodews.URL(here + "/plain"), nil},
		"no host":        {"ws://no.invalid/x", nil},
		"another scheme": {"ftp://127.0.0.1/x", syscall.EINVAL},
		"no URL":         {"ws://127.0.0.1:port/x", syscall.EINVAL},
	} {
		t.Run(name, func(t *testing.T) {
			for _, at := range []cnodews.URL{secret(tt.at), tt.at + "?token"} {
				_, err := cnodews.New(nil).Connect(expect.Context(t), at)
				require.Error(t, err)
				require.NotContains(t, err.Error(), "token")
				if tt.want != nil {
					require.ErrorIs(t, err, tt.want)
				}
				require.False(t, errors.As(err, new(*url.Error)))
			}
		})
	}
}

// Neither the log nor the page of a node has a token of a URL that it connects to, or listens at.
func TestPagesAndLogsHaveNoTokens(t *testing.T) {
	var log buffer
	logger := slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := plain(t)
	ws := cnodews.New(nil)
	at := secret(s.put(ws))
	server := started(t, nodes.Config{
		Name: "shop@web", Cookie: "secret", Transport: ws, Listen: at, Resolver: nodes.Static{}, Logger: logger,
	})
	client := started(t, nodes.Config{
		Name: "till@branch", Cookie: "secret", Transport: cnodews.New(nil), Logger: logger,
		Resolver: nodes.Static{"shop@web": {Addr: at}, "gone@web": {Addr: secret("ws://127.0.0.1:1/x")}},
	})
	ctx := expect.Context(t)
	_, err := client.Connect(ctx, "gone@web")
	require.ErrorIs(t, err, syscall.ECONNREFUSED)
	require.NotContains(t, err.Error(), "token")
	_, err = client.Connect(ctx, "shop@web")
	require.NoError(t, err)
	for _, n := range []*nodes.Node{server, client} {
		page := httptest.NewServer(debugz.New(n, nil))
		defer page.Close()
		for _, path := range []string{"/", "/?format=json", "/json"} {
			r, err := http.Get(page.URL + path)
			require.NoError(t, err)
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			require.NoError(t, r.Body.Close())
			require.NotContains(t, string(body), "token-")
		}
	}
	require.NoError(t, client.Close())
	require.NoError(t, server.Close())
	require.NotContains(t, log.String(), "token-")
}
