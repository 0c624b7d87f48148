package main

import (
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// handOff is the measurement of messages that carry a descriptor: see carrier/main.go and
// c/scm_rate.c.
const handOff = "handoff"

// A carrierMode is a way to send and receive, by the name that the programs have for it.
type carrierMode struct{ name, title string }

var (
	carrierModes = []carrierMode{
		{"turns", "one by one"},
		{"ahead", "one way"},
	}
	carrierSizes = []int{64, 4 << 10}
)

func carried(mode carrierMode, size int) string { return sized(handOff+"/"+mode.name, size) }

// carrierRows are in the same table; its C is a column of its own.
func carrierRows() []row {
	var all []row
	for _, mode := range carrierModes {
		for _, size := range carrierSizes {
			all = append(all, row{
				name: carried(mode, size), title: "hand-off, " + mode.title + " " + sizeText(size), unit: "msg/s", targets: atLeast(0.9, nameC),
			})
		}
	}
	return all
}

// measureCarriers runs both programs in turn. They need no peer, and no network.
func (a *arena) measureCarriers(ctx context.Context) error {
	if a.o.tls || !matches(a.o.only, handOff) {
		return nil
	}
	ours, err := a.buildGo(ctx, "test/bench/carrier")
	if err != nil {
		return err
	}
	theirs, err := a.buildPlainC(ctx, "scm_rate")
	if err != nil {
		a.note("C: hand-off not measured: %v", err)
	}
	programs := []struct{ kind, path string }{{nameC, theirs}, {nameOurs, ours}}
	for round := range a.o.rounds {
		a.say("hand-off, round %d of %d", round+1, a.o.rounds)
		for _, mode := range carrierModes {
			for _, size := range carrierSizes {
				for i := range programs {
					p := programs[(round+i)%len(programs)]
					if p.path == "" {
						continue
					}
					rate, err := a.carry(ctx, p.path, mode, size)
					if err != nil {
						return fmt.Errorf("%s, %s: %w", p.kind, carried(mode, size), err)
					}
					a.results.add(carried(mode, size), p.kind, rate)
				}
			}
		}
	}
	return nil
}

func (a *arena) carry(ctx context.Context, program string, mode carrierMode, size int) (float64, error) {
	ctx, cancel := context.WithTimeout(ctx, a.o.cell+cellLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, mode.name, strconv.Itoa(size), strconv.FormatInt(a.o.cell.Milliseconds(), 10))
	out, err := cmd.Output()
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}
