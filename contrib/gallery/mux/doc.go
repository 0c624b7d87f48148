// Package cnodemux puts nodes' connections into a session of a multiplexer, beside what else goes
// through it: one TCP connection for all connections to an address. It is for two ends that have
// such a session anyway (Consul and Nomad have, of hashicorp/yamux), or where only one connection
// gets through. The multiplexer is the caller's: the tests have hashicorp/yamux and xtaci/smux.
package cnodemux
