// Package permission holds the tests of what Config.Rules refuse, against real Erlang nodes: this
// test's binary is the node, as one process and with workers.
package permission
