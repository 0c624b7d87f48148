package cnodews_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/websocket"
	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/port"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/transport"
)

// nginxConf is what a WebSocket needs of nginx, and nothing about time-outs.
const nginxConf = `
daemon off;
pid %[1]s/pid;
error_log stderr;
events {}
http {
	access_log off;
	client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	server {
		listen unix:%[1]s/front;
		listen %[2]s;
		location /erlang {
			proxy_pass %[3]s;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection upgrade;
			proxy_set_header Host $host;
			proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
		}
	}
}
`

// nginx runs in front of a site, and returns its address.
func nginx(t *testing.T, s *site) string {
	path, err := exec.LookPath("nginx")
	if err != nil {
		if path = "/usr/sbin/nginx"; !exists(path) { // which is not on everybody's PATH
			path = need.Program(t, "nginx")
		}
	}
	at := port.Vacant(t)
	dir, err := os.MkdirTemp("", "nginx")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	conf := filepath.Join(dir, "conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir, at, s.URL), 0o600))
	require.NoError(t, os.Chmod(dir, 0o755))
	cmd := exec.Command(path, "-p", dir, "-e", "stderr", "-c", conf)
	cmd.Stderr = t.Output()
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Signal(os.Interrupt); _ = cmd.Wait() })
	require.Eventually(t, func() bool {
		c, err := net.Dial("tcp", at)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, expect.Limit, 10*time.Millisecond)
	return at
}

func exists(path string) bool { _, err := os.Stat(path); return err == nil }

// Behind nginx with its default time-outs (60 s without a byte), nodes with their default ticks (15
// s) stay connected; and the peer's address is the one that nginx tells.
func TestBehindNginx(t *testing.T) {
	for name, o := range modes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ws := cnodews.New(&cnodews.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}})
			s := plain(t)
			s.mux.Handle("/erlang", ws)
			server := shop(t, ws)
			at := cnodews.URL("ws://" + nginx(t, s) + "/erlang")
			client := started(t, nodes.Config{
				Name: "till@branch", Cookie: "secret", Transport: cnodews.New(o), Resolver: nodes.Static{"shop@web": {Addr: at}},
			})
			ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
			defer cancel()
			v, err := client.RPC(ctx, "shop@web", "shop", "echo", make(ei.Binary, 4<<20))
			require.NoError(t, err)
			require.Len(t, v, 4<<20)
			c := client.Conn("shop@web")
			ap, err := transport.AddrPort(server.Conn("till@branch").Stream().RemoteAddr())
			require.NoError(t, err)
			require.Equal(t, "127.0.0.1:0", ap.String(), "that of X-Forwarded-For, which has no port")
			need.Long(t, 70*time.Second)
			select {
			case <-c.Done():
				require.NoError(t, c.Err())
			case <-time.After(70 * time.Second):
			}
			_, err = client.RPC(ctx, "shop@web", "shop", "echo", "still here")
			require.NoError(t, err)
			require.NoError(t, c.Err())
		})
	}
}
