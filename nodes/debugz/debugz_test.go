package debugz_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/nodes"
	"github.com/cnode-go/cnode/nodes/debugz"
	"github.com/cnode-go/cnode/nodes/global"
	"github.com/cnode-go/cnode/nodes/pg"
	"github.com/cnode-go/cnode/nodes/supervisor"
	"github.com/cnode-go/cnode/test/leak"
	"github.com/cnode-go/cnode/transport"
)

func TestMain(m *testing.M) { leak.VerifyTestMain(m) }

// served is a node with everything that a page shows, and its page.
func served(t *testing.T, o debugz.Options) (*nodes.Node, *nodes.Node, *debugz.Page) {
	tr, err := transport.NewMemory(nil)
	require.NoError(t, err)
	table := nodes.NewTable()
	var page *debugz.Page
	start := func(name string, setup func(n *nodes.Node) error) *nodes.Node {
		n, err := nodes.New(nodes.Config{
			Name: name, Cookie: "secret", Transport: tr, Listen: transport.MemoryAddr(name), Resolver: table, Setup: setup,
			Rules: []nodes.Rule{{Op: nodes.OpCall, Module: "secret", Deny: true}},
		})
		require.NoError(t, err)
		require.NoError(t, n.Start(t.Context()))
		t.Cleanup(func() { n.Close() })
		return n
	}
	a := start("a@test", func(n *nodes.Node) error {
		scope, err := pg.Start(n, "pg", nil)
		if err != nil {
			return err
		}
		o.Groups = append(o.Groups, scope)
		if o.Names, err = global.Start(n, nil); err != nil {
			return err
		}
		page = debugz.New(n, &o)
		n.Expose("shop", "quote", func(ctx context.Context, args []ei.Term) (any, error) { return ei.Atom("ok"), nil })
		n.Expose("shop", "fail", func(ctx context.Context, args []ei.Term) (any, error) { return nil, errors.New("sold out") })
		return nil
	})
	return a, start("b@test", nil), page
}
