// Package upgrade tests, against real Erlang nodes, that a node goes on in another process, and
// another, without a peer noticing: no nodedown, no message lost, doubled or out of order, calls,
// links and monitors as before. And it measures how long that takes.
package upgrade
