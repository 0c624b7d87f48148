package main

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// heads are those of both tables that a report prints, without the first one.
func heads(t *testing.T, r report) (medians, spread []string) {
	t.Helper()
	var text strings.Builder
	require.NoError(t, r.writeText(&text))
	var tables [][]string
	before := ""
	for line := range strings.Lines(text.String()) {
		if strings.HasPrefix(line, "|--") {
			var all []string
			for _, cell := range strings.Split(strings.Trim(before, "|\n"), "|")[1:] {
				all = append(all, strings.TrimSpace(cell))
			}
			tables = append(tables, all)
		}
		before = line
	}
	require.Len(t, tables, 2, text.String())
	return tables[0], tables[1]
}

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

// A column without a value is left out; the others keep their places.
func TestTableHasColumnsWithValues(t *testing.T) {
	all := []string{nameLibei, nameBEAM, nameOurs, nameAsleep, nameServe}
	one := []float64{1}
	every := map[string][]float64{nameLibei: one, nameBEAM: one, nameOurs: one, nameAsleep: one, nameServe: one}
	for _, tt := range []struct {
		name           string
		o              options
		kinds          []string
		measured       results
		medians, lower string
	}{
		{"everything", options{}, append(slices.Clone(all), nameC),
			results{"out/16B": every, carried(carrierModes[0], 64): {nameOurs: one, nameC: one}},
			"ours/libei ours/BEAM ours/C target met unit libei BEAM ours asleep serve C asleep/libei serve/libei",
			"ours/libei ours/BEAM ours/C unit libei BEAM ours asleep serve C"},
		{"only the hand-off", options{}, []string{nameOurs, nameC}, results{carried(carrierModes[0], 64): {nameOurs: one, nameC: one}},
			"ours/C target met unit ours C", "ours/C unit ours C"},
		{"only dispatch", options{}, []string{nameOurs, nameWorkers}, results{dispatch + "/connection": {nameOurs: one, nameWorkers: one}},
			"unit ours workers", "unit ours workers"},
		{"a peer that could not be measured", options{}, []string{nameLibei, nameOurs}, results{"out/16B": {nameOurs: one}},
			"target unit ours", "unit ours"},
		{"a value in one row of two", options{}, []string{nameLibei, nameOurs},
			results{"in/16B": {nameOurs: one}, "in/1KB": {nameOurs: one, nameLibei: one}},
			"ours/libei target unit libei ours", "ours/libei unit libei ours"},
		{"TLS", options{tls: true}, []string{nameBEAM, nameOurs}, results{"out/16B": {nameBEAM: one, nameOurs: one}},
			"ours/BEAM target met unit BEAM ours", "ours/BEAM unit BEAM ours"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			medians, spread := heads(t, reported(tt.o, tt.kinds, tt.measured))
			require.Equal(t, tt.medians, strings.Join(medians, " "))
			require.Equal(t, tt.lower, strings.Join(spread, " "))
		})
	}
}

// Without a row there are the heads.
func TestTableWithoutRows(t *testing.T) {
	medians, spread := heads(t, report{Kinds: []string{nameOurs}})
	require.Equal(t, []string{"ours/libei", "ours/BEAM", "target", "met", "unit", "ours", "asleep/libei", "serve/libei"}, medians)
	require.Equal(t, []string{"ours/libei", "ours/BEAM", "unit", "ours"}, spread)
}

// The JSON names every peer, and lacks no row, whatever the tables leave out.
func TestReportKeepsWhatTablesLeaveOut(t *testing.T) {
	r := reported(options{}, []string{nameLibei, nameOurs}, results{"out/16B": {nameOurs: {1}}, "out/16B/driver-cpu": {nameOurs: {1}}})
	var out bytes.Buffer
	require.NoError(t, r.writeJSON(&out))
	var got report
	require.NoError(t, json.Unmarshal(out.Bytes(), &got))
	require.Equal(t, r.Kinds, got.Kinds)
	require.Len(t, got.Rows, 2)
	require.Len(t, r.table(r.medians()), 2, "the head and one row: the other is in the JSON only")
}
