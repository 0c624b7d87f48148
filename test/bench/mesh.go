package main

import (
	"context"
	"fmt"
	"strconv"
)

// meshes is the measurement of nodes that are all connected: see mesh/main.go.
// It is made when it is named only, since it takes minutes.
const meshes = "mesh"

var meshSizes = []int{50, 100}

// meshFigures are what is measured of each, in the order in which the program prints it.
var meshFigures = []struct{ name, title, unit string }{
	{"forming", "forming", "s"},
	{"forming-cpu", "forming, processor time", "s"},
	{"idle", "idle, of a core", "%"},
	{"vanish-cpu", "a tenth vanishes, processor time", "s"},
	{"memory", "memory for each end of a connection", "kB"},
}

func meshRows(o options) (all []row) {
	if o.only == nil {
		return nil
	}
	for _, size := range meshSizes {
		for _, f := range meshFigures {
			title := fmt.Sprintf("mesh of %d: %s", size, f.title)
			all = append(all, row{name: fmt.Sprintf("%s/%d/%s", meshes, size, f.name), title: title, unit: f.unit})
		}
	}
	return all
}

// measureMeshes runs a program for each size.
func (a *arena) measureMeshes(ctx context.Context) error {
	if a.o.only == nil {
		return nil
	}
	for _, size := range meshSizes {
		name := fmt.Sprintf("%s/%d", meshes, size)
		if !matches(a.o.only, name) {
			continue
		}
		program, err := a.buildGoIn(ctx, "", "test/bench/mesh", "mesh-nodes")
		if err != nil {
			return err
		}
		a.say("mesh of %d", size)
		figures, err := a.figures(ctx, len(meshFigures), program, strconv.Itoa(size))
		if err != nil {
			a.note("%s not measured: %v", name, err)
			continue
		}
		for i, f := range meshFigures {
			a.results.add(fmt.Sprintf("%s/%s", name, f.name), nameOurs, figures[i])
		}
	}
	return nil
}
