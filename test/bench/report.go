package main

import (
	"cmp"
	"encoding/json"
	"io"
	"math"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"
)

// A report is what was measured: the JSON as it is printed, and the tables' content.
type report struct {
	Machine string    `json:"machine"`
	OTP     int       `json:"otp"`
	Go      string    `json:"go"`
	Date    string    `json:"date"`
	TLS     bool      `json:"tls"`
	OptFile string    `json:"tls-optfile,omitempty"` // none: the one that is made for the run
	Buffer  int       `json:"buffer,omitempty"`
	Rounds  int       `json:"rounds"`
	Seconds float64   `json:"seconds"`
	Load    string    `json:"load"` // of the machine at the end: 1, 5, 15 minutes
	Kinds   []string  `json:"peers"`
	Rows    []outcome `json:"rows"`
	Notes   []string  `json:"notes"`
}

// An outcome is a row with its values.
type outcome struct {
	Name    string   `json:"name"`
	Title   string   `json:"title"`
	Unit    string   `json:"unit,omitempty"`
	Libei   *float64 `json:"ours_per_libei,omitempty"`
	BEAM    *float64 `json:"ours_per_beam,omitempty"`
	Asleep  *float64 `json:"asleep_per_libei,omitempty"`
	Serve   *float64 `json:"serve_per_libei,omitempty"`
	Upper   *float64 `json:"serve_per_beam,omitempty"`
	C       *float64 `json:"ours_per_c,omitempty"`
	Ergo    *float64 `json:"ours_per_ergo,omitempty"` // of codecs only
	JSON    *float64 `json:"ours_per_json,omitempty"` // the same
	Moved   *float64 `json:"moved_per_ours,omitempty"`
	Pair    *float64 `json:"pair_per_beam,omitempty"`
	ByRound struct { // the same ratios within each round
		Libei []float64 `json:"ours_per_libei,omitempty"`
		BEAM  []float64 `json:"ours_per_beam,omitempty"`
		C     []float64 `json:"ours_per_c,omitempty"`
		Ergo  []float64 `json:"ours_per_ergo,omitempty"`
		JSON  []float64 `json:"ours_per_json,omitempty"`
		Moved []float64 `json:"moved_per_ours,omitempty"`
		Pair  []float64 `json:"pair_per_beam,omitempty"`
	} `json:"by_round"`
	Target string            `json:"target,omitempty"`
	Met    string            `json:"met,omitempty"` // yes, no, or empty: no target, or not measured
	Peers  map[string]values `json:"values"`

	aside bool
}

// values are one peer's in one row.
type values struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	All    []float64 `json:"all"`
}

func (a *arena) report(begun time.Time) report {
	r := report{
		Machine: machine(), OTP: a.release.Number, Go: runtime.Version(), Date: begun.Format(time.DateOnly), TLS: a.o.tls,
		OptFile: a.o.tlsOpt, Buffer: a.o.buffer, Rounds: a.o.rounds,
		Seconds: math.Round(time.Since(begun).Seconds()), Load: load(), Notes: a.notes,
	}
	for _, k := range kinds() {
		if a.o.wanted(k) && a.o.needsPeers() || a.results.of(k.name) {
			r.Kinds = append(r.Kinds, k.name)
		}
	}
	if !a.o.tls && matches(a.o.only, dispatch) {
		r.Kinds = append(r.Kinds, nameWorkers)
	}
	if !a.o.tls && matches(a.o.only, upper) {
		for _, kind := range []string{nameBEAM, nameOurs, nameTyped, nameTypedBefore} {
			if !slices.Contains(r.Kinds, kind) {
				r.Kinds = append(r.Kinds, kind)
			}
		}
	}
	if !a.o.tls && matches(a.o.only, handOff) {
		r.Kinds = append(r.Kinds, nameC)
	}
	if !a.o.tls && matches(a.o.only, codec) {
		for _, kind := range codecKinds() {
			if !slices.Contains(r.Kinds, kind) {
				r.Kinds = append(r.Kinds, kind)
			}
		}
	}
	for _, row := range rows(a.o) {
		if matches(a.o.only, measurementOf(row.name)) {
			r.Rows = append(r.Rows, row.outcome(a.results[row.name]))
		}
	}
	return r
}

func (row row) outcome(measured map[string][]float64) outcome {
	o := outcome{Name: row.name, Title: row.title, Unit: row.unit, Peers: map[string]values{}, aside: row.aside}
	for kind, all := range measured {
		v := values{Median: median(all), Min: all[0], Max: all[0], All: all}
		for _, value := range all {
			v.Min, v.Max = min(v.Min, value), max(v.Max, value)
		}
		o.Peers[kind] = v
	}
	o.Libei, o.BEAM = o.ratio(nameOurs, nameLibei), o.ratio(nameOurs, nameBEAM)
	o.Asleep, o.Serve = o.ratio(nameAsleep, nameLibei), o.ratio(nameServe, nameLibei)
	o.Upper, o.C = o.ratio(nameServe, nameBEAM), o.ratio(nameOurs, nameC)
	o.ByRound.Libei, o.ByRound.BEAM = o.paired(nameOurs, nameLibei), o.paired(nameOurs, nameBEAM)
	o.ByRound.C = o.paired(nameOurs, nameC)
	if strings.HasPrefix(row.name, codec+"/") {
		o.Ergo, o.ByRound.Ergo = o.ratio(nameOurs, nameErgo), o.paired(nameOurs, nameErgo)
		o.JSON, o.ByRound.JSON = o.ratio(nameOurs, nameJSON), o.paired(nameOurs, nameJSON)
	}
	o.Moved, o.ByRound.Moved = o.ratio(nameMoved, nameOurs), o.paired(nameMoved, nameOurs)
	o.Pair, o.ByRound.Pair = o.ratio(namePair, nameBEAM), o.paired(namePair, nameBEAM)
	var texts []string
	for _, t := range row.targets {
		texts = append(texts, t.String())
	}
	o.Target = strings.Join(texts, ", ")
	o.Met = o.judge(row.targets)
	return o
}

// ratio divides two medians; nil where there is none.
func (o *outcome) ratio(kind, by string) *float64 {
	a, ok := o.Peers[kind]
	b, ok2 := o.Peers[by]
	if !ok || !ok2 || b.Median == 0 {
		return nil
	}
	q := a.Median / b.Median
	return &q
}

// paired divides the values of two peers round by round; nil where one of them lacks a round.
func (o *outcome) paired(kind, by string) []float64 {
	a, b := o.Peers[kind].All, o.Peers[by].All
	if len(a) != len(b) {
		return nil
	}
	var all []float64
	for i := range a {
		if b[i] == 0 {
			return nil
		}
		all = append(all, a[i]/b[i])
	}
	return all
}

// judge says whether every target is met.
func (o *outcome) judge(targets []target) string {
	if len(targets) == 0 {
		return ""
	}
	for _, t := range targets {
		of := cmp.Or(t.of, nameOurs)
		got, ok := o.Peers[of]
		if !ok {
			return ""
		}
		value := got.Median
		if t.against != "" {
			q := o.ratio(of, t.against)
			if q == nil {
				return ""
			}
			value = *q
		}
		if t.most && value > t.bound || !t.most && value < t.bound {
			return "no"
		}
	}
	return "yes"
}

func (r report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "\t")
	e.SetEscapeHTML(false)
	return e.Encode(r)
}

// machine describes the processor and how many of it there are, and the kernel's congestion
// control, which large messages depend on.
func machine() string {
	name := runtime.GOOS + "/" + runtime.GOARCH
	text, err := os.ReadFile("/proc/cpuinfo")
	if err == nil {
		for line := range strings.Lines(string(text)) {
			if key, value, _ := strings.Cut(line, ":"); strings.TrimSpace(key) == "model name" {
				name += ", " + strings.TrimSpace(value)
				break
			}
		}
	}
	name += ", " + plural(runtime.NumCPU(), "processor")
	if control, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control"); err == nil {
		name += ", " + strings.TrimSpace(string(control))
	}
	return name
}

// load is the system's load average, which says how busy the machine was.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
