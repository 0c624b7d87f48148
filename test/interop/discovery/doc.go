// Package discovery tests nodes/discovery with real nodes: connections that are kept through kills,
// restarts, moves and cut lines, names from DNS and port mappers, and gossip with Elixir.
package discovery
