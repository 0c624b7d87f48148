package main

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
)

// The messages' sizes, in bytes of the binary sent.
var sizes = []int{16, 1 << 10, 64 << 10, 1 << 20}

// In place of a size: a tuple of 20 atoms, and a map of about 1 KB with atoms for keys. See
// payload/1 of the measuring node.
const (
	ofAtoms = -1
	ofMap   = -2
)

// A row is one figure of every peer.
type row struct {
	name    string // round-trip/16B/cpu
	title   string
	unit    string
	targets []target
	aside   bool // in the JSON only
}

// A target bounds the median of a kind of peer, ours unless it says otherwise, or the ratio of that
// to another kind's.
type target struct {
	of      string // kind of peer; "": ours
	against string // kind of peer; "": none
	most    bool   // the bound is an upper one, else a lower one
	bound   float64
}

// String returns the target as the table has it.
func (t target) String() string {
	text := ">="
	if t.most {
		text = "<="
	}
	text += fmt.Sprintf(" %.4g", t.bound)
	if t.against != "" {
		text += " " + t.against
	}
	if t.of != "" {
		text = t.of + " " + text
	}
	return text
}

func atMost(bound float64, against string) target {
	return target{against: against, most: true, bound: bound}
}

func atLeast(bound float64, against ...string) []target {
	var ts []target
	for _, a := range against {
		ts = append(ts, target{against: a, bound: bound})
	}
	return ts
}

// The names of measurements: the first part of their rows' names.
const (
	roundTrip     = "round-trip"
	out           = "out"
	in            = "in"
	connect       = "connect"
	connectErlang = connect + "/erlang"
	connectPeer   = connect + "/peer"
	idle          = "idle"
	crowd         = "crowd"

	// beside as many programs that compute as there are processors
	busyRoundTrip = busy + roundTrip
	busyOut       = busy + out
	busyIn        = busy + in
	busy          = "busy-"
)

// rows are the table, with the targets of the project.
func rows(o options) []row {
	all := figures()
	if slices.Contains(o.peers, nameMoved) {
		defer func() { addMoved(all) }()
	}
	if !o.tls {
		return slices.Concat(all, dispatchRows(), upperRows(), groupsRows(), carrierRows(), codecRows(), lineRows(o), upgradeRows(o),
			doorRows(o), meshRows(o))
	}
	if slices.Contains(o.peers, namePair) {
		defer func() { addPair(all, slices.Contains(o.peers, nameOurs)) }()
	}
	for i := range all {
		r := &all[i]
		name, _, _ := strings.Cut(r.name, "/")
		switch {
		case slices.ContainsFunc(r.targets, func(t target) bool { return t.against == "" }):
		case r.processor(), strings.HasPrefix(name, busy):
			r.targets = nil
		case name == roundTrip:
			r.targets = []target{atMost(1, nameBEAM)}
		case name == out || name == in:
			r.targets = atLeast(1.5, nameBEAM)
		case name == connect:
			r.targets = atLeast(2, nameBEAM)
		}
	}
	return slices.Concat(all, upgradeRows(o), meshRows(o))
}

// addMoved adds the targets of a connection that has moved: as fast as one that has not, within the
// differences between runs.
func addMoved(all []row) {
	for i := range all {
		r := &all[i]
		t := target{of: nameMoved, against: nameOurs}
		switch name, _, _ := strings.Cut(r.name, "/"); {
		case r.processor():
			continue
		case name == roundTrip:
			t.most, t.bound = true, 1.05
		case name == out || name == in:
			t.bound = 0.95
		default:
			continue
		}
		r.targets = append(r.targets, t)
	}
}

// addPair applies the targets against BEAM to a pair of our nodes as well, or, if single is false,
// to the pair only.
func addPair(all []row, single bool) {
	for i := range all {
		r := &all[i]
		var pair []target
		for _, t := range r.targets {
			if t.against == nameBEAM && r.name != connectPeer { // only the measuring side connects
				t.of = namePair
				pair = append(pair, t)
			}
		}
		if single {
			pair = append(r.targets, pair...)
		}
		r.targets = pair
	}
}

// processor reports whether the row is processor time.
func (r row) processor() bool { return strings.HasSuffix(r.name, "cpu") }

// tripTargets are what a round trip may take at most of libei's time, and of its processor time.
var tripTargets = map[int]struct{ time, processor float64 }{
	16: {0.75, 1}, 1 << 10: {0.75, 1}, 64 << 10: {0.9, 1.3}, 1 << 20: {1.05, 1.2},
}

// figures are the table over TCP.
func figures() []row {
	var all []row
	for _, s := range sizes {
		all = append(all, row{name: sized(roundTrip, s), title: "round trip " + sizeText(s), unit: "us",
			targets: []target{atMost(tripTargets[s].time, nameLibei)}})
	}
	for _, s := range sizes {
		least := atLeast(1, nameLibei, nameBEAM)
		if s == 16 {
			least = append(atLeast(3, nameLibei), atLeast(1, nameBEAM)...)
		}
		all = append(all, row{name: sized(out, s), title: "out " + sizeText(s), unit: "msg/s", targets: least})
	}
	for _, s := range sizes {
		least := atLeast(1, nameLibei, nameBEAM)
		switch s {
		case 16:
			least = atLeast(1.2, nameLibei, nameBEAM)
		case 1 << 20: // libei gets it in one frame, the others in fragments
			least = atLeast(1, nameBEAM)
		}
		all = append(all, row{name: sized(in, s), title: "in " + sizeText(s), unit: "msg/s", targets: least})
	}
	for _, m := range []kindOfStream{{name: out, title: "out"}, {name: in, title: "in"}} {
		for _, s := range []int{ofAtoms, ofMap} {
			all = append(all, row{name: sized(m.name, s), title: m.title + " " + sizeText(s), unit: "msg/s", targets: atLeast(1, nameBEAM)})
		}
	}
	for _, m := range measured {
		if m.busy {
			continue
		}
		for _, s := range m.sizes() {
			r := row{name: sized(m.name, s) + "/cpu", title: "processor, " + m.title + " " + sizeText(s), unit: "us/msg"}
			switch {
			case m.name == roundTrip:
				r.targets = []target{atMost(tripTargets[s].processor, nameLibei)}
			case s == 16:
				r.targets = []target{atMost(1, nameLibei)}
				if m.name == in {
					r.targets = append(r.targets, atMost(1, nameBEAM))
				}
			}
			all = append(all, r, row{name: sized(m.name, s) + "/driver-cpu", unit: "us/msg", aside: true,
				title: "processor of the measuring node, " + m.title + " " + sizeText(s)})
		}
	}
	all = append(all, busyRows()...)
	for _, t := range crowdTalks {
		for _, n := range crowds {
			title := fmt.Sprintf("processor, round trips %s, connections: %d", t.title, n)
			all = append(all, row{name: crowded(t.name, n), title: title, unit: "us/msg"})
		}
		all = append(all, row{name: crowdRatio(t.name), title: fmt.Sprintf("the same %s, %d : %d", t.title, crowds[len(crowds)-1], crowds[0]),
			targets: []target{atMost(1.5, "")}})
	}
	return append(all,
		row{name: connectErlang, title: "connections from Erlang", unit: "/s", targets: atLeast(1, nameLibei)},
		row{name: connectPeer, title: "connections from the peer", unit: "/s", targets: atLeast(1, nameLibei)},
		row{name: connectErlang + "/cpu", title: "processor, connection from Erlang", unit: "us"},
		row{name: connectErlang + "/driver-cpu", title: "processor of the measuring node, connection from Erlang", unit: "us", aside: true},
		row{name: idle + "/memory", title: "idle connection, memory", unit: "KB", targets: []target{atMost(32, "")}},
		row{name: idle + "/descriptors", title: "idle connection, descriptors", targets: []target{atMost(2, "")}},
		row{name: idle + "/goroutines", title: "idle connection, goroutines"},
		row{name: idle + "/threads", title: "idle connection, threads"},
		row{name: idle + "/cpu", title: "processor, all idle connections", unit: "ms/s"},
	)
}

// busyRows are those of a busy machine.
func busyRows() []row {
	var all []row
	for _, m := range measured {
		if m.busy {
			for _, s := range m.sizes() {
				title := fmt.Sprintf("busy machine, %s %s", m.title, sizeText(s))
				r := row{name: sized(m.name, s), title: title, unit: "msg/s"}
				if m.name == busyRoundTrip {
					r.unit, r.targets = "us", []target{atMost(1.15, nameLibei), atMost(1.05, nameAsleep)}
				}
				all = append(all, r,
					row{name: r.name + "/cpu", title: "processor, " + title, unit: "us/msg"},
					row{name: r.name + "/driver-cpu", title: "processor of the measuring node, " + title, unit: "us/msg", aside: true})
			}
		}
	}
	return all
}

func sized(name string, size int) string {
	return name + "/" + strings.ReplaceAll(sizeText(size), " ", "")
}

func sizeText(size int) string {
	switch {
	case size == ofAtoms:
		return "20 atoms"
	case size == ofMap:
		return "map"
	case size >= 1<<20:
		return fmt.Sprintf("%d MB", size>>20)
	case size >= 1<<10:
		return fmt.Sprintf("%d KB", size>>10)
	default:
		return fmt.Sprintf("%d B", size)
	}
}

// measurementOf returns the name of the measurement that fills a row.
func measurementOf(row string) string {
	parts := strings.Split(row, "/")
	if parts[0] == idle || parts[0] == crowd || parts[0] == handOff || parts[0] == dispatch || parts[0] == upper || parts[0] == groups ||
		parts[0] == codec {
		return parts[0]
	}
	return strings.Join(parts[:2], "/")
}

func matches(only *regexp.Regexp, measurement string) bool {
	return only == nil || only.MatchString(measurement)
}

// results are the values by row and kind of peer, one for each round.
type results map[string]map[string][]float64

func (r results) add(row, kind string, value float64) {
	if r[row] == nil {
		r[row] = map[string][]float64{}
	}
	r[row][kind] = append(r[row][kind], value)
}

// of reports whether there is any value of a kind.
func (r results) of(kind string) bool {
	for _, kinds := range r {
		if len(kinds[kind]) > 0 {
			return true
		}
	}
	return false
}

// median returns the middle value, or the mean of the two in the middle; NaN if there is none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := slices.Sorted(slices.Values(values))
	half := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[half]
	}
	return (sorted[half-1] + sorted[half]) / 2
}
