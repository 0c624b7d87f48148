package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
)

// upgrades is the measurement of a node that goes on in another process: see upgrade/main.go. It is
// made when it is named only, since it takes minutes.
const upgrades = "upgrade"

// An upgradeShape is what the node has that moves.
type upgradeShape struct {
	name, title          string
	conns, boxes, unread int
}

var (
	upgradeShapes = []upgradeShape{
		{"1000", "1,000 connections", 1000, 0, 0},
		{"9900", "9,900 connections", 9900, 0, 0},
		{"100000-mailboxes", "100,000 mailboxes", 10, 100_000, 0},
		{"1000000-mailboxes", "1,000,000 mailboxes", 10, 1_000_000, 0},
		{"10000-mailboxes-100", "10,000 mailboxes with 100 unread each", 10, 10_000, 100},
	}
	upgradeShapesTLS = []upgradeShape{
		{"1000", "1,000 connections", 1000, 0, 0},
		{"5000", "5,000 connections", 5000, 0, 0},
	}
)

// upgradeFigures are what is measured of each, in the order in which the program prints it.
var upgradeFigures = []struct{ name, title, unit string }{
	{"p50", "silence, median", "ms"},
	{"p99", "silence, 99 %", "ms"},
	{"p99.9", "silence, 99.9 %", "ms"},
	{"old", "memory, old process", "MB"},
	{"new", "memory, new process", "MB"},
}

func upgradesOf(o options) []upgradeShape {
	if o.tls {
		return upgradeShapesTLS
	}
	return upgradeShapes
}

func upgradeRows(o options) []row {
	var all []row
	if o.only == nil {
		return nil
	}
	for _, s := range upgradesOf(o) {
		for _, f := range upgradeFigures {
			all = append(all, row{name: upgrades + "/" + s.name + "/" + f.name, title: "upgrade, " + s.title + ": " + f.title, unit: f.unit})
		}
	}
	return all
}

// measureUpgrades runs a program for each shape.
func (a *arena) measureUpgrades(ctx context.Context) error {
	if a.o.only == nil {
		return nil
	}
	for _, s := range upgradesOf(a.o) {
		name := upgrades + "/" + s.name
		if !matches(a.o.only, name) {
			continue
		}
		program, err := a.buildGoIn(ctx, "", "test/bench/upgrade", "upgrade-node")
		if err != nil {
			return err
		}
		args := []string{strconv.Itoa(s.conns), strconv.Itoa(s.boxes), strconv.Itoa(s.unread)}
		if a.o.tls {
			args = append([]string{"-tls", filepath.Clean(a.tlsFile)}, args...)
		}
		a.say("upgrade, %s", s.title)
		figures, err := a.figures(ctx, len(upgradeFigures), program, args...)
		if err != nil {
			a.note("%s not measured: %v", name, err)
			continue
		}
		for i, f := range upgradeFigures {
			a.results.add(fmt.Sprintf("%s/%s", name, f.name), nameOurs, figures[i])
		}
	}
	return nil
}
