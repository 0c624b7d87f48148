// Package handoff passes descriptors, and the sessions behind them, between processes over UNIX sockets.
package handoff
