// Package tls tests TLS distribution against real Erlang nodes, which run -proto_dist inet_tls with
// an option file.
package tls
