// Package move tests, against real Erlang nodes, that connections and whole nodes go on elsewhere
// without a peer noticing: no nodedown, no message lost, doubled or out of order.
package move
