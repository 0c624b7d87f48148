package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/expect"
	"github.com/cnode-go/cnode/internal/test/systemd"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/epmd"
)

// block is the text of a block of the page docs/operate/gate.md, which begins with some words.
func block(t *testing.T, page, kind, begins string) string {
	t.Helper()
	found := regexp.MustCompile("(?s)```" + kind + "\n(" + regexp.QuoteMeta(begins) + ".*?)```").FindStringSubmatch(page)
	require.NotNil(t, found, begins)
	return found[1]
}

// mapper runs a port mapper, and gives a resolver of it.
func mapper(t *testing.T) (addr string, r *nodes.PortMapper) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &epmd.Server{}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
	addr = l.Addr().String()
	return addr, &nodes.PortMapper{Client: epmd.Client{Addr: addr}}
}

// The page's unit, as it is printed, starts the page's configuration under real versions of
// systemd, as the user that it names, with cookies that only root can read; a reload is a move that
// no node sees, and a stop is in order.
func TestUnit(t *testing.T) {
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "cnode-gate"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // the machine's C library is its own
	said, err := build.CombinedOutput()
	require.NoError(t, err, "%s", said)
	text, err := os.ReadFile("../../../../docs/operate/gate.md")
	require.NoError(t, err)
	page := string(text)
	config := block(t, page, "erlang", "[{outside")
	outside, out := mapper(t)
	inside, in := mapper(t)
	for printed, own := range map[string]string{"127.0.0.1:4369": outside, "127.0.0.1:14369": inside} { // this machine may have them
		require.Equal(t, 1, strings.Count(config, `"`+printed+`"`))
		config = strings.Replace(config, printed, own, 1)
	}
	node := func(name, cookie string, r *nodes.PortMapper) *nodes.Node {
		n, err := nodes.New(nodes.Config{Name: name + "@127.0.0.1", Cookie: cookie, Resolver: r})
		require.NoError(t, err)
		t.Cleanup(func() { _ = n.Close() })
		return n
	}
	shop := node("shop", "inside-secret", in)
	shop.Expose("shop", "quote", nodes.FuncOf(func(_ context.Context, item string) (string, error) { return "one " + item, nil }))
	require.NoError(t, shop.Start(t.Context()))
	unit := strings.Fields(page[strings.Index(page, "`/etc/systemd/system/"):])[0]
	unit = strings.Trim(unit, "`.")
	name := filepath.Base(unit)
	user := regexp.MustCompile(`(?m)^User=(.*)$`).FindStringSubmatch(page)[1]
	systemd.Each(t, map[string]systemd.File{
		unit:                        {Text: block(t, page, "ini", "[Service]"), Mode: 0o644},
		"/etc/passwd":               {Text: "root:x:0:0::/root:/bin/sh\n" + user + ":x:986:986::/:/bin/sh\n", Mode: 0o644},
		"/etc/group":                {Text: "root:x:0:\n" + user + ":x:986:\n", Mode: 0o644},
		"/etc/cnode/gate.config":    {Text: config, Mode: 0o644},
		"/etc/cnode/outside.cookie": {Text: "outside-secret\n", Mode: 0o600},
		"/etc/cnode/inside.cookie":  {Text: "inside-secret\n", Mode: 0o600},
		"/usr/local/bin/cnode-gate": {From: filepath.Join(dir, "cnode-gate"), Mode: 0o755},
	}, func(t *testing.T, m *systemd.Machine) {
		property := func(of string) string {
			return strings.TrimSpace(m.Succeed("systemctl", "show", "--value", "-p", of, name))
		}
		var commands []string
		for line := range strings.Lines(block(t, page, "sh", "useradd")) {
			if command, _, _ := strings.Cut(line, "#"); strings.HasPrefix(command, "systemctl ") {
				commands = append(commands, command)
			}
		}
		require.Len(t, commands, 3)
		run := func(command string) {
			words := strings.Fields(command)
			m.Succeed(words[0], words[1:]...)
		}
		run(commands[0])
		run(commands[1])
		require.Equal(t, "active", property("ActiveState"))
		require.Equal(t, "enabled", property("UnitFileState"))
		ci := node("ci1", "outside-secret", out)
		require.NoError(t, ci.Start(t.Context()))
		c, err := ci.Connect(t.Context(), shop.Name())
		require.NoError(t, err)
		asks := func() {
			price, err := ci.RPC(t.Context(), shop.Name(), "shop", "quote", "beer")
			require.NoError(t, err)
			require.Equal(t, ei.Binary("one beer"), price)
		}
		asks()
		before := property("MainPID")
		require.Contains(t, m.Succeed("cat", fmt.Sprintf("/proc/%s/status", before)), "Uid:\t986\t")
		run(commands[2])
		require.Eventually(t, func() bool { return property("MainPID") != before }, expect.Limit, 20*time.Millisecond)
		asks()
		select {
		case <-c.Done():
			t.Fatal("the node outside has seen the reload")
		default:
		}
		m.Succeed("systemctl", "stop", name)
		require.Equal(t, "success", property("Result"))
		expect.Returns(t, c.Done())
		require.NoError(t, ci.Close())
	})
}
