// Package global holds the tests of package nodes/global against real Erlang nodes: names, locks,
// conflicts, partitions, moves.
package global
