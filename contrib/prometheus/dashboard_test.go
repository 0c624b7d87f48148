package cnodeprom_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	grafana "github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/contrib/prometheus"
	"github.com/cnode-go/cnode/nodes"
)

// Grafana's own types take the dashboard, Prometheus's own parser takes its queries, and each asks
// for metrics and labels that the collector has.
func TestDashboard(t *testing.T) {
	plugins.RegisterDefaultPlugins()
	b, err := os.ReadFile("dashboard.json")
	require.NoError(t, err)
	//lint:ignore SA1019 every release of Grafana imports this form
	var d dashboard.Dashboard
	if err := d.UnmarshalJSONStrict(b); err != nil { // as it is, and empty, for every row
		require.Empty(t, err.Error())
	}
	//lint:ignore SA1019 as above
	d = dashboard.Dashboard{}
	require.NoError(t, json.Unmarshal(b, &d))

	n, err := nodes.New(nodes.Config{Name: "shop@host", Cookie: "secret"})
	require.NoError(t, err)
	defer n.Close()
	labels := map[string]string{}
	c := make(chan *prometheus.Desc, 100)
	cnodeprom.New(n, nil).Describe(c)
	close(c)
	described := regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([^}]*)\}`)
	for desc := range c {
		match := described.FindStringSubmatch(desc.String())
		require.NotNil(t, match, desc)
		labels[match[1]] = match[2] + ",job,instance,le"
	}

	asked, ids := map[string]bool{}, map[uint32]bool{}
	for _, p := range d.Panels {
		var id *uint32
		if p.Panel == nil {
			id = &p.RowPanel.Id
		} else {
			id = p.Panel.Id
			require.LessOrEqual(t, p.Panel.GridPos.X+p.Panel.GridPos.W, uint32(24))
			require.NotEmpty(t, p.Panel.Targets, *p.Panel.Title)
			for _, target := range p.Panel.Targets {
				expr := target.(*grafana.Dataquery).Expr
				for old, new := range map[string]string{"$__rate_interval": "1m", "$job": "a", "$instance": "b"} {
					expr = strings.ReplaceAll(expr, old, new)
				}
				parsed, err := parser.ParseExpr(expr)
				require.NoError(t, err, expr)
				var grouped []string
				parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
					if a, ok := node.(*parser.AggregateExpr); ok {
						grouped = a.Grouping
					}
					if v, ok := node.(*parser.VectorSelector); ok {
						name := regexp.MustCompile(`^(cnode_call_duration_seconds)_.*`).ReplaceAllString(v.Name, "$1")
						asked[name] = true
						require.Subset(t, strings.Split(labels[name], ","), grouped, expr)
						for _, m := range v.LabelMatchers[:len(v.LabelMatchers)-1] {
							require.Contains(t, strings.Split(labels[name], ","), m.Name, expr)
						}
					}
					return nil
				})
			}
		}
		require.False(t, ids[*id])
		ids[*id] = true
	}
	for name := range asked {
		require.Contains(t, labels, name, "the collector does not have it")
	}
	for name := range labels {
		require.True(t, asked[name], "nothing shows %s", name)
	}
}
