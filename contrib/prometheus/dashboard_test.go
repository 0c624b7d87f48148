package cnodeprom_test

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	grafana "github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
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

	labels := described(t)
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
				for name := range checked(t, expr, labels) {
					asked[name] = true
				}
			}
		}
		require.False(t, ids[*id])
		ids[*id] = true
	}
	for name := range labels {
		require.True(t, asked[name], "nothing shows %s", name)
	}
}

// described has the labels of each metric of the collector, and of a server's own.
func described(t *testing.T) map[string]string {
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
	return labels
}

// checked has the metrics that a query asks for, with what it demands of labels, and tells whether
// all of them are there.
func checked(t *testing.T, expr string, labels map[string]string) map[string]*parser.VectorSelector {
	parsed, err := parser.ParseExpr(expr)
	require.NoError(t, err, expr)
	var grouped []string
	all := map[string]*parser.VectorSelector{}
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if a, ok := node.(*parser.AggregateExpr); ok {
			grouped = a.Grouping
		}
		if v, ok := node.(*parser.VectorSelector); ok {
			name := regexp.MustCompile(`^(cnode_call_duration_seconds)_.*`).ReplaceAllString(v.Name, "$1")
			require.Contains(t, labels, name, "the collector does not have it")
			all[name] = v
			require.Subset(t, strings.Split(labels[name], ","), grouped, expr)
			for _, m := range v.LabelMatchers[:len(v.LabelMatchers)-1] {
				require.Contains(t, strings.Split(labels[name], ","), m.Name, expr)
			}
		}
		return nil
	})
	return all
}

// The alerts in the documents ask for metrics and labels that there are. What they want to increase
// is there before it does, or the first time would be none: with a node, or with the peer.
func TestAlerts(t *testing.T) {
	b, err := os.ReadFile("../../docs/operate/metrics.md")
	require.NoError(t, err)
	_, alerts, found := strings.Cut(string(b), "## Alerts worth having")
	require.True(t, found)
	alerts, _, _ = strings.Cut(alerts, "\n## ")
	labels, rows := described(t), 0
	n, err := nodes.New(nodes.Config{Name: "shop@host", Cookie: "secret"})
	require.NoError(t, err)
	defer n.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(cnodeprom.New(n, nil))
	s, text := scrape(t, registry)
	for line := range strings.Lines(strings.ReplaceAll(alerts, `\|`, "\x00")) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[2], "`") {
			continue
		}
		rows++
		for i, expr := range strings.Split(strings.ReplaceAll(cells[2], "\x00", "|"), "`") {
			if i%2 == 0 {
				continue
			}
			for name, v := range checked(t, expr, labels) {
				if !strings.Contains(expr, "increase("+v.Name) || strings.Contains(labels[name], "peer") {
					continue
				}
				require.True(t, slices.ContainsFunc(s[name].GetMetric(), func(m *dto.Metric) bool {
					for _, want := range v.LabelMatchers[:len(v.LabelMatchers)-1] {
						if !slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetName() == want.Name && want.Matches(l.GetValue()) }) {
							return false
						}
					}
					return true
				}), "%s: %s", expr, text)
			}
		}
	}
	require.Greater(t, rows, 10)
}
