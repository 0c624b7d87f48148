package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cnode-go/cnode/internal/test/otp"
)

//go:embed erlang/bench_doors.erl
var doorsSource string

// doors is the measurement of the ways from a BEAM to a program: a private link, a node, and two
// kinds of ports; and of gRPC between two programs. It is made when it is named only.
const doors = "doors"

var (
	doorSizes   = []int{1 << 10, 64 << 10}
	doorCallers = []int{1, 16}
	doorWays    = []struct{ name, title string }{
		{"link", "link"}, {"node", "node"}, {"port", "port, {packet,4}"}, {"json", "port, lines of JSON"},
		{"grpc", "gRPC, Go to Go"},
	}
)

func doorRow(way string, size, callers int) string {
	return fmt.Sprintf("%s/%d/%s", sized(doors, size), callers, way)
}

func doorRows(o options) (all []row) {
	if o.only == nil {
		return nil
	}
	for _, size := range doorSizes {
		for _, callers := range doorCallers {
			for _, way := range doorWays {
				name := doorRow(way.name, size, callers)
				title := fmt.Sprintf("call, %s, %d at once: %s", sizeText(size), callers, way.title)
				all = append(all, row{name: name, title: title, unit: "µs"}, row{name: name + "/cpu", title: title + ", processor", unit: "µs"})
			}
		}
	}
	return all
}

// measureDoors takes turns between the ways, of one BEAM.
func (a *arena) measureDoors(ctx context.Context) error {
	wanted := map[int]bool{}
	for _, size := range doorSizes {
		wanted[size] = a.o.only != nil && matches(a.o.only, sized(doors, size))
	}
	if a.o.tls || !wanted[doorSizes[0]] && !wanted[doorSizes[1]] {
		return nil
	}
	n, program, err := a.openDoors(ctx)
	if err != nil {
		return err
	}
	defer n.Close()
	ways := slices.Clone(doorWays)
	if a.release.Number < 27 {
		ways = slices.Delete(ways, 3, 4)
		a.note("lines of JSON are not measured: OTP has JSON from release 27 on")
	}
	for _, way := range ways[:len(ways)-1] {
		if _, err := n.EvalContext(ctx, fmt.Sprintf("bench_doors:start(%s, %q)", way.name, program)); err != nil {
			return err
		}
	}
	for round := range a.o.rounds {
		a.say("ways to a program, round %d of %d", round+1, a.o.rounds)
		for _, size := range doorSizes {
			for i := range len(doorCallers) * len(ways) {
				if !wanted[size] {
					continue
				}
				callers, way := doorCallers[i/len(ways)], ways[(i+round)%len(ways)].name
				text, err := a.callBy(ctx, n, way, size, callers)
				if err != nil {
					return err
				}
				var took, processor float64
				if _, err := fmt.Sscanf(strings.ReplaceAll(text, ",", " "), "{%f %f}", &took, &processor); err != nil {
					return fmt.Errorf("%s: %w", text, err)
				}
				name := doorRow(way, size, callers)
				a.results.add(name, nameOurs, took)
				a.results.add(name+"/cpu", nameOurs, processor)
			}
		}
	}
	return nil
}

// callBy measures a way, once.
func (a *arena) callBy(ctx context.Context, n *otp.Node, way string, size, callers int) (string, error) {
	if way != "grpc" {
		return n.EvalContext(ctx, fmt.Sprintf("bench_doors:measure(%s, %d, %d, %d)", way, size, callers, a.o.cell.Milliseconds()))
	}
	cmd := exec.CommandContext(ctx, filepath.Join(a.dir, "doors-grpc"),
		fmt.Sprint(size), fmt.Sprint(callers), fmt.Sprint(a.o.cell.Milliseconds()))
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	return string(text), err
}

// openDoors starts a BEAM with the package cnode, and builds the program.
func (a *arena) openDoors(ctx context.Context) (_ *otp.Node, program string, err error) {
	program = filepath.Join(a.dir, "doors-program")
	for file, folder := range map[string]string{program: "doors", filepath.Join(a.dir, "doors-grpc"): "grpc"} {
		build := exec.CommandContext(ctx, "go", "build", "-o", file, module+"/test/bench/"+folder)
		build.Env = append(os.Environ(), "CGO_ENABLED=0") // the root file systems of other releases have other C libraries
		if out, err := build.CombinedOutput(); err != nil {
			return nil, "", fmt.Errorf("%s does not build: %w\n%s", folder, err, out)
		}
	}
	where := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module)
	root, err := where.Output()
	if err != nil {
		return nil, "", err
	}
	src, ebin := filepath.Join(a.dir, "cnode-src"), filepath.Join(a.dir, "cnode-ebin")
	if err := os.CopyFS(src, os.DirFS(filepath.Join(strings.TrimSpace(string(root)), "beam/cnode/src"))); err != nil {
		return nil, "", err
	}
	if err := os.Mkdir(ebin, 0o755); err != nil {
		return nil, "", err
	}
	n, err := a.release.Launch(ctx, otp.Options{Name: "doors-beam", Cookie: cookie, EpmdPort: a.epmdPort, ExtraArgs: []string{"-pa", ebin}})
	if err != nil {
		return nil, "", err
	}
	if _, err = n.EvalContext(ctx, fmt.Sprintf(`[{ok, _} = compile:file(F, [{outdir, "%[1]s"}]) || F <- filelib:wildcard("%[2]s/*.erl")],
		{ok, [{application, cnode, P}]} = file:consult("%[2]s/cnode.app.src"),
		ok = file:write_file("%[1]s/cnode.app", io_lib:format("~p.", [{application, cnode, [{modules, []} | P]}]))`, ebin, src)); err == nil {
		err = n.LoadContext(ctx, doorsSource)
	}
	if err != nil {
		n.Close()
		return nil, "", err
	}
	return n, program, nil
}
