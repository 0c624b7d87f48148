// Package drain tests nodes.Node.Drain and Shutdown against real Erlang nodes, which watch a Go
// node's processes as they watch those of an OTP application that stops.
package drain
