// Package cnodessh carries connections through an SSH server (RFC 4254, section 7.2, direct-tcpip:
// what ssh -J and -L do). One wants it to reach a cluster behind a bastion of which nothing is open
// but port 22, from a laptop or from another site, with the keys and the accounts that are there
// already: no VPN, no port that is forwarded and kept so. The nodes there listen over TCP and know
// nothing of it, so Erlang nodes are reached, too. Only this side can connect; what they see is the
// server's address.
//
// Each connection has an SSH session of its own, which lives as long as it: a large message delays
// no other connection, and nothing is left when the last one ends. The transport does not move.
package cnodessh
