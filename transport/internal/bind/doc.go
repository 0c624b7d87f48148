// Package bind has what binding a socket to a local address needs, whatever the kind of the
// socket: the family of a wildcard, and the files of UNIX sockets.
package bind
