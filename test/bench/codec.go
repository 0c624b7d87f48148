package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// codec is the measurement of the codecs alone: of package ei, libei, ergo and the BEAM in turn.
// See codec/main.go and c/ei_codec.c.
const codec = "codec"

// codecParts is how many measurements of a codec take the time of one of messages.
const codecParts = 8

// The shapes of terms, by the names that the programs have for them.
var codecShapes = []struct{ name, title string }{
	{"echo", "{echo, Pid, 42, <<\"hello\">>}"},
	{"integers", "1,000 integers"},
	{"atom-map", "100 atoms to binaries"},
	{"proplist", "proplist of 200"},
	{"binary", "binary of 1 MB"},
	{"records", "1,000 records"},
	{"nesting", "nesting of 500"},
	{"json", "100 maps as of JSON"},
}

// A codecTask is what codecs do with a shape, and which of them can.
type codecTask struct {
	name    string
	kinds   []string
	targets []target
}

var codecTasks = []codecTask{
	{"walk", []string{nameLibei, nameOurs}, []target{atMost(1, nameLibei), noAllocations}},
	{"append", []string{nameLibei, nameOurs}, []target{atMost(1, nameLibei), noAllocations}},
	{"decode", []string{nameBEAM, nameErgo, nameOurs}, []target{atMost(0.5, nameErgo),
		{of: allocations(nameOurs), against: allocations(nameErgo), most: true, bound: 0.25}}},
	{"encode", []string{nameBEAM, nameErgo, nameOurs}, nil},
	{"unmarshal", []string{nameErgo, nameJSON, nameOurs}, fasterThanTrees},
	{"marshal", []string{nameErgo, nameJSON, nameCBOR, nameOurs}, append(slices.Clone(fasterThanTrees), atMost(1, nameCBOR))},
}

// fasterThanTrees is for structs.
var fasterThanTrees = []target{atMost(0.333, nameErgo), atMost(1, nameJSON)}

// targetsOf are those for a shape: without ergo there are none against it.
func (t codecTask) targetsOf(shape string) []target {
	return slices.DeleteFunc(slices.Clone(t.targets), func(t target) bool {
		return strings.HasPrefix(t.against, nameErgo) && !ergoHas(shape)
	})
}

// ergoHas reports whether ergo can have a shape: a binary is no key of its maps.
func ergoHas(shape string) bool { return shape != "json" }

// has reports whether the task can be done with a shape: some have no Go type but the tree.
func (t codecTask) has(shape string) bool {
	return !strings.HasSuffix(t.name, "marshal") || !slices.Contains([]string{"proplist", "binary", "nesting"}, shape)
}

var noAllocations = target{of: allocations(nameOurs), most: true}

// allocations names the column of those of a kind.
func allocations(kind string) string { return kind + " allocs" }

// codecKinds are the columns that only this measurement has.
func codecKinds() []string {
	return []string{nameLibei, nameBEAM, nameErgo, nameOurs, nameJSON, nameCBOR, allocations(nameErgo), allocations(nameJSON),
		allocations(nameOurs)}
}

func codecRow(task, shape string) string { return codec + "/" + task + "/" + shape }

func codecRows() []row {
	var all []row
	for _, t := range codecTasks {
		for _, s := range codecShapes {
			if !t.has(s.name) {
				continue
			}
			all = append(all, row{name: codecRow(t.name, s.name), title: t.name + ", " + s.title, unit: "ns", targets: t.targetsOf(s.name)})
		}
	}
	return all
}

// A codecRun is one measurement of one codec.
type codecRun struct{ task, kind, shape string }

// measureCodec runs a program for each single measurement. They need no peer, and no network; the
// BEAM is the measuring node.
func (a *arena) measureCodec(ctx context.Context) error {
	if a.o.tls || !matches(a.o.only, codec) {
		return nil
	}
	ours, err := a.buildGo(ctx, "test/bench/codec")
	if err != nil {
		return err
	}
	shapes := filepath.Join(a.dir, "shapes")
	if err := os.Mkdir(shapes, 0o700); err != nil {
		return err
	}
	if err := a.command(ctx, ours, "shapes", shapes); err != nil {
		return err
	}
	libei := filepath.Join(a.dir, "ei_codec")
	if err := a.compile(ctx, filepath.Join("test", "bench", "c", "ei_codec.c"), libei); err != nil {
		a.note("libei: codec not measured: %v", err)
		libei = ""
	}
	for round := range a.o.rounds {
		a.say("codec, round %d of %d", round+1, a.o.rounds)
		for _, task := range codecTasks {
			for _, shape := range codecShapes {
				if !task.has(shape.name) {
					continue
				}
				for i := range task.kinds {
					run := codecRun{task.name, task.kinds[(round+i)%len(task.kinds)], shape.name}
					if run.kind == nameErgo && !ergoHas(shape.name) || run.kind == nameLibei && libei == "" {
						continue
					}
					if err := a.runCodec(ctx, run, ours, libei, filepath.Join(shapes, shape.name)); err != nil {
						return fmt.Errorf("%s, %s: %w", run.kind, codecRow(run.task, run.shape), err)
					}
				}
			}
		}
	}
	return nil
}

func (a *arena) runCodec(ctx context.Context, run codecRun, ours, libei, file string) error {
	ctx, cancel := context.WithTimeout(ctx, a.o.cell+cellLimit)
	defer cancel()
	row, ms := codecRow(run.task, run.shape), max(1, a.o.cell.Milliseconds()/codecParts)
	switch run.kind {
	case nameBEAM:
		ps, err := a.call(ctx, cellLimit, "codec", fmt.Sprintf("%s, %q, %d", run.task, file, ms))
		a.results.add(row, run.kind, float64(ps)/1000)
		return err
	case nameLibei:
		figures, err := a.figures(ctx, 1, libei, run.task, file, strconv.FormatInt(ms, 10))
		if err == nil {
			a.results.add(row, run.kind, figures[0])
		}
		return err
	}
	figures, err := a.figures(ctx, 2, ours, run.kind, run.task, file, strconv.FormatInt(ms, 10))
	if err == nil {
		a.results.add(row, run.kind, figures[0])
		a.results.add(row, allocations(run.kind), figures[1])
	}
	return err
}

// figures runs a program that prints n of them.
func (a *arena) figures(ctx context.Context, n int, program string, args ...string) ([]float64, error) {
	var said strings.Builder
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	all := make([]float64, 0, n)
	for field := range strings.FieldsSeq(string(out)) {
		f, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	if len(all) != n {
		return nil, fmt.Errorf("%s printed %q", filepath.Base(program), out)
	}
	return all, nil
}
