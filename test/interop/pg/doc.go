// Package pg tests package nodes/pg against real Erlang nodes: their scopes see the members of a Go
// node and the reverse, through lost connections, killed nodes and scopes, and moves of the Go
// node.
package pg
