package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the drawings of testdata anew")

// reported makes a report of measurements that --only has chosen.
func reported(o options, kinds []string, measured results) report {
	r := report{Kinds: kinds, TLS: o.tls, Rounds: 1}
	for _, row := range rows(o) {
		if all, ok := measured[row.name]; ok {
			r.Rows = append(r.Rows, row.outcome(all))
		}
	}
	return r
}

// Drawings are those in testdata; -update writes these.
func TestDrawing(t *testing.T) {
	one := func(ours, libei, beam float64) map[string][]float64 {
		return map[string][]float64{nameOurs: {ours}, nameLibei: {libei}, nameBEAM: {beam}}
	}
	three := []string{nameLibei, nameBEAM, nameOurs}
	for _, tt := range []struct {
		name     string
		o        options
		kinds    []string
		measured results
	}{
		{"two-peers", options{}, three, results{
			"round-trip/16B": one(30, 60, 75), "round-trip/16B/cpu": one(22.8, 24.3, 30.2),
			"out/20atoms": one(3, 2, 4), "out/16B": one(1e6, 2e5, 3e5), "out/16B/cpu": one(0.16, 4.45, 3.73), "out/1MB": one(6568, 4756, 3050),
			"connect/erlang": one(1177, 1249, 1157), "connect/erlang/cpu": one(192, 146, 622),
			"idle/memory": one(21.5, 21, 10)}},
		{"tls", options{tls: true}, []string{nameBEAM, nameOurs}, results{
			"round-trip/1KB": {nameOurs: {47.1}, nameBEAM: {113}}, "in/64KB": {nameOurs: {22086}, nameBEAM: {808}}}},
		{"one-peer", options{}, three[1:], results{"in/1KB": {nameOurs: {2}, nameBEAM: {0}}, "in/1MB": {nameOurs: {5}, nameBEAM: {4}}}},
		{"nothing", options{}, three[2:], results{"out/16B": {nameOurs: {3}}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := reported(tt.o, tt.kinds, tt.measured)
			r.Machine, r.Go, r.Date, r.OTP, r.Load = `linux/amd64, A <"fast"> & small one`, "go1.26.8", "2026-11-28", 25, "0.10 0.20 0.30"
			got := r.svg()
			require.Equal(t, string(got), string(r.svg()))
			for d := xml.NewDecoder(bytes.NewReader(got)); ; {
				_, err := d.Token()
				if errors.Is(err, io.EOF) {
					break
				}
				require.NoError(t, err)
			}
			golden := filepath.Join("testdata", tt.name+".svg")
			if *update {
				require.NoError(t, os.WriteFile(golden, got, 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, strings.ReplaceAll(string(want), "\r\n", "\n"), string(got))
		})
	}
}

// What --json has printed is drawn as it was.
func TestDrawingFromJSON(t *testing.T) {
	r := reported(options{}, []string{nameLibei, nameOurs}, results{"in/1KB": {nameOurs: {2}, nameLibei: {1}}})
	var printed bytes.Buffer
	require.NoError(t, r.writeJSON(&printed))
	dir := t.TempDir()
	in, drawn := filepath.Join(dir, "in.json"), filepath.Join(dir, "out.svg")
	require.NoError(t, os.WriteFile(in, printed.Bytes(), 0o600))
	var again bytes.Buffer
	require.NoError(t, run(t.Context(), options{from: in, svg: drawn, json: true}, &again, io.Discard))
	require.Equal(t, printed.String(), again.String())
	got, err := os.ReadFile(drawn)
	require.NoError(t, err)
	require.Equal(t, string(r.svg()), string(got))

	again.Reset()
	require.NoError(t, run(t.Context(), options{from: in, json: true, only: regexp.MustCompile("^out")}, &again, io.Discard))
	require.Contains(t, again.String(), `"rows": []`)

	require.NoError(t, os.WriteFile(in, []byte("{"), 0o600))
	var syntax *json.SyntaxError
	require.ErrorAs(t, run(t.Context(), options{from: in}, io.Discard, io.Discard), &syntax)
}
