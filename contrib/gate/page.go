package gate

import (
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
)

// Handler serves a page of the connections at /, the same as JSON at /sessions.json, and counts for
// Prometheus at /metrics. Who may reach it is its server's affair.
func Handler(g *Gate) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = page.Execute(w, map[string]any{"Stats": g.Stats(), "Sessions": g.Sessions()})
	})
	mux.HandleFunc("GET /sessions.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(g.Sessions())
	})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		s := g.Stats()
		for _, m := range []struct {
			name, kind, help string
			value            int64
		}{
			{"cnode_gate_sessions", "gauge", "Connections through the gate.", int64(s.Sessions)},
			{"cnode_gate_names", "gauge", "Names of nodes outside that have come.", int64(s.Names)},
			{"cnode_gate_passed_total", "counter", "Messages of nodes outside that have passed.", s.Passed},
			{"cnode_gate_refused_total", "counter", "Messages of nodes outside that were refused.", s.Refused},
			{"cnode_gate_failed_total", "counter", "Handshakes that have failed.", s.Failed},
		} {
			fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s %s\n%s %d\n", m.name, m.help, m.name, m.kind, m.name, m.value)
		}
		const rules = "cnode_gate_rule_total"
		fmt.Fprintf(w, "# HELP %s Decisions by rule; 0 is for those of no rule.\n# TYPE %s counter\n", rules, rules)
		for i, n := range s.Rules {
			fmt.Fprintf(w, "%s{rule=\"%d\"} %d\n", rules, (i+1)%len(s.Rules), n)
		}
	})
	return mux
}

var page = template.Must(template.New("page").Parse(`<!doctype html><html lang="en"><meta charset="utf-8"><title>Gate</title>
<meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="5">
<style>body{font:15px sans-serif;margin:2em}table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:left}
td.n{text-align:right}tr:nth-child(even){background:#8881}:root{color-scheme:light dark}</style>
<h1>Gate</h1><p>{{.Stats.Sessions}} connections, {{.Stats.Passed}} messages passed, {{.Stats.Refused}} refused,
{{.Stats.Failed}} handshakes failed</p>
<table><tr><th>outside<th>inside<th>connected by<th>since<th>passed<th>refused<th>atoms</tr>
{{range .Sessions}}<tr><td>{{.Outside}}<td>{{.Inside}}<td>{{if .FromInside}}inside{{else}}outside{{end}}
<td>{{.Since.Format "2006-01-02 15:04:05"}}
<td class=n>{{.Passed}}<td class=n>{{.Refused}}<td class=n>{{.Atoms}}</tr>{{end}}</table></html>
`))
