// Package project makes the Elixir project of docs/how-to/elixir-project.md, line by line, and
// kills, stops, upgrades and releases what it has made; and does the same with the child of the
// Erlang package alone.
package project
