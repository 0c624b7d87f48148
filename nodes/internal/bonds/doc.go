// Package bonds keeps what binds one process to others: links, monitors in both directions, and
// aliases. It is erl_dist_protocol's link protocol, and what the Erlang Reference Manual's
// "Processes" says of links and monitors, as a table that signals change.
//
// Nothing here sends, waits or locks: a method says what has become of the bond, or returns the
// control message about it, and whoever holds the process's lock sends that in the same step, so
// that the two sides of a bond see its changes in one order.
package bonds
