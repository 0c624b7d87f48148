// Package workers holds the tests of a node that is served by several processes, against real
// Erlang nodes: cnode-demo serve --workers, and a program of its own, this test's binary, for what
// cnode-demo has no function for.
package workers
