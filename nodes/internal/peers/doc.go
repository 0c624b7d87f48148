// Package peers is a node's table of its peers: to which of them it is connected, and who is about
// to connect to whom. It decides which of two connections or attempts of the same two nodes counts.
// It opens no socket and runs no handshake, and does not know what a connection carries.
package peers
