package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cnode-go/cnode/internal/test/need"
	"github.com/cnode-go/cnode/internal/test/otp"
	"github.com/cnode-go/cnode/tlstransport"
)

func TestParse(t *testing.T) {
	o, err := parse([]string{"--otp", "27", "--quick", "--peers", "libei,ours", "--only", "16B", "--json"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, 27, o.otp)
	require.Equal(t, quickRounds, o.rounds)
	require.Equal(t, quickCell, o.cell)
	require.Equal(t, []string{"libei", "ours"}, o.peers)
	require.True(t, o.json)
	require.True(t, matches(o.only, "in/16B"))
	require.False(t, matches(o.only, "in/1KB"))

	o, err = parse([]string{"--rounds=2"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, 2, o.rounds)
	require.Equal(t, defaultCell, o.cell)

	o, err = parse([]string{"--transport", "tls"}, io.Discard)
	require.NoError(t, err)
	require.True(t, o.tls)
	for _, k := range kinds() {
		require.Equal(t, k.tls && !k.named(), o.wanted(k), k.name)
	}

	o, err = parse([]string{"--tls-optfile", "x.conf", "--transport", "tls"}, io.Discard)
	require.NoError(t, err)
	require.True(t, filepath.IsAbs(o.tlsOpt))

	for _, wrong := range []string{"--tls-optfile=x.conf", "--transport=udp", "--peers=jinterface", "--only=(", "--rounds=x", "16B"} {
		_, err := parse([]string{wrong}, io.Discard)
		require.Error(t, err, wrong)
	}
}

func TestOutcomeJudges(t *testing.T) {
	measured := map[string][]float64{nameLibei: {100, 90, 110}, nameBEAM: {50}, nameOurs: {104, 104, 104}}
	for _, tt := range []struct {
		name    string
		targets []target
		want    string
	}{
		{"no target", nil, ""},
		{"at most", []target{atMost(1.05, nameLibei)}, "yes"},
		{"over", []target{atMost(1.03, nameLibei)}, "no"},
		{"at least both", atLeast(1, nameLibei, nameBEAM), "yes"},
		{"at least, one not", append(atLeast(1, nameBEAM), atLeast(3, nameLibei)...), "no"},
		{"by itself", []target{atMost(104, "")}, "yes"},
		{"by itself, over", []target{atMost(103, "")}, "no"},
		{"peer not measured", []target{atMost(1, nameErgo)}, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := row{targets: tt.targets}.outcome(measured)
			require.Equal(t, tt.want, o.Met)
			require.InDelta(t, 1.04, *o.Libei, 1e-9)
			require.InDelta(t, 2.08, *o.BEAM, 1e-9)
			require.Nil(t, o.Serve)
			require.Len(t, o.ByRound.Libei, 3)
			require.Empty(t, o.ByRound.BEAM)
		})
	}
}

// Every row belongs to a measurement that --only can choose.
func TestRowsHaveMeasurements(t *testing.T) {
	known := map[string]bool{connectErlang: true, connectPeer: true, crowd: true, idle: true, dispatch: true, groups: true, upper: true,
		handOff: true, codec: true}
	for _, s := range streams(options{}) {
		known[s.String()] = true
	}
	for _, s := range slowLines {
		known[s.name()] = true
	}
	known[lineDead] = true
	for _, s := range upgradeShapes {
		known[upgrades+"/"+s.name] = true
	}
	for _, size := range doorSizes {
		known[sized(doors, size)] = true
	}
	for _, size := range meshSizes {
		known[fmt.Sprintf("%s/%d", meshes, size)] = true
	}
	for _, r := range rows(options{only: regexp.MustCompile("")}) {
		require.True(t, known[measurementOf(r.name)], r.name)
	}
	for _, r := range rows(options{}) {
		long := strings.HasPrefix(r.name, lines) || strings.HasPrefix(r.name, upgrades) || strings.HasPrefix(r.name, meshes) ||
			strings.HasPrefix(r.name, doors)
		require.False(t, long, "%s takes long, and is there when it is asked for only", r.name)
	}
}

// Over TLS the BEAM is the only peer to compare with.
func TestTargetsOverTLS(t *testing.T) {
	n := 0
	for _, r := range rows(options{tls: true}) {
		for _, target := range r.targets {
			require.Contains(t, []string{"", nameBEAM}, target.against, r.name)
			n++
		}
	}
	require.NotZero(t, n)
}

// A quick run of one size has every row, with a value of every peer that can have one.
func TestQuickRunHasEveryRow(t *testing.T) {
	need.Long(t, 60*time.Second)
	t.Run("TCP", func(t *testing.T) { quickRun(t, "--peers=libei,BEAM,ours,asleep") })
	t.Run("TLS", func(t *testing.T) { quickRun(t, "--transport=tls", "--peers=BEAM,ours,moved,pair") })
}

// With --tls-optfile all nodes use that file: with another file no node would talk to the node that
// measures.
func TestQuickRunWithOptFile(t *testing.T) {
	need.Long(t, 20*time.Second)
	release := otp.Releases(t)[0]
	dir := filepath.Join(t.TempDir(), "tls")
	said, err := exec.Command("go", "run", module+"/cmd/cnode-demo", "certs", dir).CombinedOutput()
	require.NoError(t, err, "%s", said)
	file := filepath.Join(dir, "ssl_dist.conf")
	o, err := parse([]string{"--quick", "--rounds=1", "--transport=tls", "--peers=BEAM,ours,serve,moved,sealed",
		"--tls-optfile", file}, io.Discard)
	require.NoError(t, err)
	o.otp, o.only, o.cell = release.Number, regexp.MustCompile("out/16B|connect/peer"), 5*time.Millisecond
	var out, progress bytes.Buffer
	require.NoError(t, run(t.Context(), o, &out, &progress), &progress)
	require.Contains(t, out.String(), ", TLS by "+file)
	require.Contains(t, out.String(), "sealed: not measured: it reads plain PEM files")
	require.Equal(t, 1, strings.Count(out.String(), "not measured: "), out.String())

	require.NoError(t, os.Remove(file))
	var wrong *tlstransport.OptionError
	require.ErrorAs(t, run(t.Context(), o, &out, &progress), &wrong)
}

func quickRun(t *testing.T, args ...string) {
	release := otp.Releases(t)[0]
	o, err := parse(append(args, "--quick", "--rounds=1", "--json"), io.Discard)
	require.NoError(t, err)
	o.otp, o.only = release.Number, regexp.MustCompile("^(busy-round-trip|round-trip|out|in)/16B|connect|crowd|idle|dispatch|handoff|codec")
	o.cell, o.idle, o.settle = 5*time.Millisecond, 30, 10*time.Millisecond

	var out, progress bytes.Buffer
	require.NoError(t, run(t.Context(), o, &out, &progress), &progress)
	t.Log(&progress)
	var r report
	require.NoError(t, json.Unmarshal(out.Bytes(), &r))
	if need.All() {
		require.Empty(t, r.Notes)
	}

	pairs, found := 0, map[string]outcome{}
	for _, row := range r.Rows {
		found[row.Name] = row
	}
	for _, row := range rows(o) {
		if !o.only.MatchString(measurementOf(row.name)) {
			require.NotContains(t, found, row.name)
			continue
		}
		require.Contains(t, found, row.name)
		kind := nameOurs
		if measurementOf(row.name) == dispatch {
			kind = nameWorkers
		}
		measured := found[row.name].Peers[kind]
		inProc := strings.HasSuffix(row.name, "cpu") || strings.HasPrefix(row.name, idle) || strings.HasPrefix(row.name, crowd)
		if inProc && !linux {
			continue
		}
		require.Len(t, measured.All, 1, row.name)
		if pair, ok := found[row.name].Peers[namePair]; ok {
			require.Len(t, pair.All, 1, row.name)
			pairs++
		}
		if len(row.targets) > 0 && len(r.Notes) == 0 {
			require.Contains(t, []string{"yes", "no"}, found[row.name].Met, row.name)
		}
	}

	if slices.Contains(o.peers, namePair) {
		require.GreaterOrEqual(t, pairs, 4) // both ways, there and back, and connections
	}

	var text strings.Builder
	require.NoError(t, r.writeText(&text))
	for _, row := range r.Rows {
		// ratios, spread
		require.Equal(t, 2, strings.Count(text.String(), "| "+row.Title+" "), row.Title)
	}
}

const linux = runtime.GOOS == "linux"
