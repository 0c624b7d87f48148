package debugz_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/ei"
	"github.com/cnode-go/cnode/internal/test/cluster"
	"github.com/cnode-go/cnode/nodes/debugz"
)

// section is a part of the page, by its id.
func section(t *testing.T, body, id string) string {
	_, rest, ok := strings.Cut(body, `<section id="`+id+`"`)
	require.True(t, ok, id)
	part, _, _ := strings.Cut(rest, "</section>")
	return part
}

var (
	headings = regexp.MustCompile(`<th scope="col"(?: class="n")?>([^<]*)</th>`)
	boxes    = regexp.MustCompile(`<div class="box" role="region" aria-label="([^"]+)" tabindex="0">`)
	cells    = regexp.MustCompile(`<td[ >]`)
	numbers  = regexp.MustCompile(`<td class="n[^>]*>`)
)

// What a row is about comes first, each column has a heading, and on a narrow screen each figure.
func TestColumns(t *testing.T) {
	body := get(t, show(t, debugz.Options{}).page, "/", nil).Body.String()
	for id, want := range map[string]string{
		"map":       "node over up for in/s out/s bytes in/s bytes out/s messages in out queued",
		"processes": "name process kind queue bytes handled age runs",
		"calls":     "function way calls errors mean half within 99 % within",
		"groups":    "group members here in all",
		"names":     "name process node",
	} {
		part := section(t, body, id)
		var all []string
		for _, m := range headings.FindAllStringSubmatch(part, -1) {
			require.NotEmpty(t, m[1], id)
			all = append(all, m[1])
		}
		require.Equal(t, want, strings.Join(all, " "), id)
		for _, row := range strings.Split(part, "<tr>")[2:] {
			require.Len(t, cells.FindAllString(row, -1), len(all), row)
			require.Regexp(t, `^<td class="w"`, row)
		}
		for _, cell := range numbers.FindAllString(part, -1) {
			require.Contains(t, cell, `data-of="`)
		}
	}
}

// Whatever may scroll can be reached by the keyboard, and has a name of its own.
func TestRegions(t *testing.T) {
	body := get(t, show(t, debugz.Options{}).page, "/", nil).Body.String()
	var names []string
	for _, m := range boxes.FindAllStringSubmatch(body, -1) {
		names = append(names, m[1])
	}
	require.Equal(t, []string{"Connected nodes", "Processes", "Calls", "Refused, failed, lost", "Trees of processes", "Groups",
		"Global names"}, names)
	require.Equal(t, len(names), strings.Count(body, "<table>")+strings.Count(body, `<ul class="tree">`))
}

// A pid is as short as its node prints it, and whole in its title and for programs.
func TestShortPids(t *testing.T) {
	s := show(t, debugz.Options{})
	body := get(t, s.page, "/", nil).Body.String()
	for _, id := range []string{"processes", "trees", "names"} {
		part := section(t, body, id)
		require.NotContains(t, part, ">#Pid", id)
		require.NotContains(t, part, "<code>&lt;", id)
		require.Regexp(t, `<code title="#Pid&lt;shop@test\.\d+\.\d+\.\d+&gt;">&lt;0\.\d+\.\d+&gt;</code>`, part, id)
	}
	require.Regexp(t, `^#Pid<shop@test\.\d+\.\d+\.\d+>$`, view(t, s.page).Processes[0].Pid)
}

// Labels are as Observer of OTP 29 shows them.
func TestLabels(t *testing.T) {
	s := show(t, debugz.Options{})
	want := map[string]ei.Term{
		"box 300":         ei.Binary("box 300"),
		"Köln":            ei.String("K\xf6ln"),
		"été <b>":         ei.Binary("été <b>"),
		`{job,<<"x">>,1}`: ei.Tuple{ei.Atom("job"), ei.Binary("x"), ei.Int(1)},
		"<<255,1>>":       ei.Binary("\xff\x01"),
		"idle":            ei.Atom("idle"),
	}
	for _, label := range want {
		box := cluster.Mailbox(t, s.a, nil)
		require.NoError(t, box.SetLabel(label))
	}
	names := map[string]bool{}
	for _, p := range view(t, s.page).Processes {
		names[p.Name] = true
	}
	for label := range want {
		require.True(t, names[label], "%s in %v", label, names)
	}
	require.Contains(t, section(t, get(t, s.page, "/", nil).Body.String(), "processes"), `<td class="w">box 300</td>`)
}
