package health_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/leak"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/health"
	"github.com/cnode-go/cnode/transport"
)

func TestMain(m *testing.M) { os.Exit(leak.Run(m)) }

func newNode(t testing.TB, cfg nodes.Config) *nodes.Node {
	cfg.Name, cfg.Cookie, cfg.Transport, cfg.Resolver = "shop@host", "secret", transport.NewMemory(), nodes.Static{}
	cfg.Listen = transport.MemoryAddr("shop")
	n, err := nodes.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { n.Close() })
	return n
}

// ask gives the answers of a Handler to all three questions.
func ask(h http.Handler) (all [3]string) {
	for i, path := range []string{"/live", "/ready", "/startup"} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		all[i] = fmt.Sprintf("%d %s", w.Code, w.Body)
	}
	return all
}

// Ready ends when draining begins, and the node serves on.
func TestLife(t *testing.T) {
	n := newNode(t, nodes.Config{DrainGrace: time.Hour})
	h := health.Handler(n)
	require.Equal(t, [3]string{"200 starting\n", "503 starting\n", "503 starting\n"}, ask(h))
	require.NoError(t, n.Start(expect.Context(t)))
	require.Equal(t, [3]string{"200 running\n", "200 running\n", "200 running\n"}, ask(h))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.Shutdown(ctx) }()
	<-n.Draining()
	require.Equal(t, [3]string{"200 draining\n", "503 draining\n", "200 draining\n"}, ask(h))
	cancel()
	<-done
	<-n.Done()
	require.Equal(t, [3]string{"503 closed\n", "503 closed\n", "503 closed\n"}, ask(h))
}

func TestChecks(t *testing.T) {
	n := newNode(t, nodes.Config{})
	require.NoError(t, n.Start(expect.Context(t)))
	require.Equal(t, [3]string{"200 running\n", "503 running: connected to 0 nodes, not to 1\n", "200 running\n"},
		ask(health.Handler(n, health.Peers(1))))
	require.Equal(t, "200 running\n", ask(health.Handler(n, health.Peers(0)))[1])
	require.Equal(t, "404 404 page not found\n", func() string {
		w := httptest.NewRecorder()
		health.Handler(n).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		return fmt.Sprintf("%d %s", w.Code, w.Body)
	}())
}

func ExampleHandler() {
	n, _ := nodes.New(nodes.Config{Name: "shop@host", Cookie: "secret"})
	http.Handle("/health/", http.StripPrefix("/health", health.Handler(n, health.Peers(1))))
}
